# What `cmake --install` puts where. Components, which are also the Debian packages: library, development, program,
# desktop.
include(CMakePackageConfigHelpers)

# What the archive needs, for CMake packages and pkg-config.
set(pc_requires "libcjson libpcre2-8 libutf8proc")
set(pc_libs_private "-pthread -lm")
foreach(library IN LISTS CMAKE_DL_LIBS)
    string(PREPEND pc_libs_private "-l${library} ")
endforeach()

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/refusion")

install(TARGETS refusion EXPORT refusion_shared
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT library
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(TARGETS refusion_static EXPORT refusion_static
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(FILES engine/refusion.h engine/refusion_profile.h engine/refusion_vulkan.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)

# ---- find_package(refusion) ------------------------------------------------------------------------------------------

install(EXPORT refusion_shared NAMESPACE refusion:: FILE refusionSharedTarget.cmake DESTINATION ${package_dir}
    COMPONENT development)
install(EXPORT refusion_static NAMESPACE refusion:: FILE refusionStaticTarget.cmake DESTINATION ${package_dir}
    COMPONENT development)
configure_package_config_file(cmake/refusionConfig.cmake.in refusionConfig.cmake INSTALL_DESTINATION ${package_dir}
    NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor release may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/refusionConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/refusionConfig.cmake" "${PROJECT_BINARY_DIR}/refusionConfigVersion.cmake"
    DESTINATION ${package_dir} COMPONENT development)

# ---- pkg-config ------------------------------------------------------------------------------------------------------

# Folders are told from where the file lies, so that an installation may be moved.
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
    set(pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
    set(pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
    file(RELATIVE_PATH to_prefix "/prefix/${pkgconfig_dir}" /prefix)
    string(REGEX REPLACE "/$" "" to_prefix "${to_prefix}")
    set(pc_prefix "\${pcfiledir}/${to_prefix}")
    set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/refusion.pc.in refusion.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/refusion.pc" DESTINATION ${pkgconfig_dir} COMPONENT development)

# ---- The program and what it reads -----------------------------------------------------------------------------------

if(TARGET refusion_program)
    install(TARGETS refusion_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
    install(FILES "${PROJECT_BINARY_DIR}/refusion.1" DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
endif()
install(DIRECTORY shaders DESTINATION ${CMAKE_INSTALL_DATADIR}/refusion COMPONENT program
    FILES_MATCHING PATTERN "*.glsl" PATTERN "*.h" PATTERN "*.comp")
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/refusion/models COMPONENT program OPTIONAL)

# ---- Documentation ---------------------------------------------------------------------------------------------------

install(FILES LICENSE NOTICE.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(FILES docs/embedding.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development
    FILES_MATCHING PATTERN "*.c" PATTERN "*.py" PATTERN "__pycache__" EXCLUDE)
