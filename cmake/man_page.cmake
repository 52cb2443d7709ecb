# refusion(1), from the tables that the program prints its --help from.
add_executable(make_man "${PROJECT_SOURCE_DIR}/cmake/make_man.c" apps/refusion/option_table.c
    apps/refusion/command_table.c)
rf_compile_flags(make_man)
target_include_directories(make_man PRIVATE "${PROJECT_SOURCE_DIR}")
add_custom_command(OUTPUT "${PROJECT_BINARY_DIR}/refusion.1"
    COMMAND make_man "${PROJECT_BINARY_DIR}/refusion.1" ${PROJECT_VERSION}
    DEPENDS make_man COMMENT "Writing the manual page" VERBATIM)
add_custom_target(man_page ALL DEPENDS "${PROJECT_BINARY_DIR}/refusion.1")
