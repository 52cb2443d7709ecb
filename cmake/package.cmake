# `cpack -G DEB` in a build folder: librefusion0, librefusion-dev, refusion and, where it is built, refusion-desktop; one
# for each component of install.cmake.
# Preset `package` configures for the folders that Debian has.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME refusion)
set(CPACK_PACKAGE_VENDOR "The refusion authors")
set(CPACK_PACKAGE_CONTACT "The refusion authors <refusion@localhost>")
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
    WORLD_READ WORLD_EXECUTE)
set(CPACK_PROJECT_CONFIG_FILE "${PROJECT_BINARY_DIR}/package_dates.cmake")
set(CPACK_COMPONENTS_ALL library development)
if(TARGET refusion_program)
    list(APPEND CPACK_COMPONENTS_ALL program)
endif()
if(TARGET refusion_desktop)
    list(APPEND CPACK_COMPONENTS_ALL desktop)
endif()

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)

# The Vulkan loader is opened at run time, which dpkg-shlibdeps cannot see.
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME "librefusion${soversion}")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS libvulkan1)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_RECOMMENDS "mesa-vulkan-drivers | vulkan-icd")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "ReFusion language models on any Vulkan device: library")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME librefusion-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "librefusion${soversion} (= ${PROJECT_VERSION}), libcjson-dev, libpcre2-dev, libutf8proc-dev")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS libvulkan-dev) # for refusion_vulkan.h
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "ReFusion language models on any Vulkan device: development files")

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME refusion)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS libvulkan1)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS "mesa-vulkan-drivers | vulkan-icd")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS glslang-tools)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "ReFusion language models on any Vulkan device: program and a tiny model")

# The application of the shared library, whose first model is the program's. Its icons are the theme's.
set(CPACK_DEBIAN_DESKTOP_PACKAGE_NAME refusion-desktop)
set(CPACK_DEBIAN_DESKTOP_PACKAGE_SECTION science)
set(CPACK_DEBIAN_DESKTOP_PACKAGE_DEPENDS
    "librefusion${soversion} (= ${PROJECT_VERSION}), refusion (= ${PROJECT_VERSION}), adwaita-icon-theme")
set(CPACK_DEBIAN_DESKTOP_PACKAGE_RECOMMENDS "mesa-vulkan-drivers | vulkan-icd")
set(CPACK_COMPONENT_DESKTOP_DESCRIPTION "ReFusion language models on any Vulkan device: desktop application")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}") # of librefusion.so, which is in no package yet

# Each package has its copyright file; a plain installation has one.
foreach(pair IN ITEMS library:librefusion${soversion} development:librefusion-dev program:refusion
        desktop:refusion-desktop)
    string(REPLACE ":" ";" pair "${pair}")
    list(GET pair 0 component)
    list(GET pair 1 package)
    install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} RENAME copyright COMPONENT ${component}
        EXCLUDE_FROM_ALL)
endforeach()

# Files in packages are as old as the last commit, so that two builds are the same; SOURCE_DATE_EPOCH in the environment
# says otherwise.
set(epoch "")
find_program(RF_GIT git)
if(RF_GIT AND EXISTS "${PROJECT_SOURCE_DIR}/.git")
    execute_process(COMMAND "${RF_GIT}" -C "${PROJECT_SOURCE_DIR}" log -1 --format=%ct OUTPUT_VARIABLE epoch
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(WRITE "${PROJECT_BINARY_DIR}/package_dates.cmake"
    "if(NOT DEFINED ENV{SOURCE_DATE_EPOCH} AND NOT \"${epoch}\" STREQUAL \"\")\n"
    "    set(ENV{SOURCE_DATE_EPOCH} \"${epoch}\")\nendif()\n")

include(CPack)
