# The page of `profile --html` as C, for the program alone. Its template is committed, so that no node is needed here;
# scripts/build-profile-page.sh makes it.
add_executable(embed_page "${PROJECT_SOURCE_DIR}/cmake/embed_page.c")
rf_compile_flags(embed_page)
set(profile_page_c "${PROJECT_BINARY_DIR}/profile_page.c")
set(profile_page_html "${PROJECT_SOURCE_DIR}/apps/profile-page/dist/profile.html")
add_custom_command(OUTPUT "${profile_page_c}"
    COMMAND embed_page "${profile_page_c}" "${profile_page_html}"
    DEPENDS embed_page "${profile_page_html}"
    COMMENT "Embedding the profile's page" VERBATIM)
add_library(profile_page STATIC "${profile_page_c}")
rf_compile_flags(profile_page)
target_include_directories(profile_page PRIVATE "${PROJECT_SOURCE_DIR}")
