# What the library, the program and the shader build need, found as system packages or in RF_PREFIX.
#   rf_dependencies   libraries and include paths of the library
#   rf_editline       line editing, for the program alone
#   RF_GLSLANG        the GLSL compiler; RF_SPIRV_VAL the validator, or empty
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

foreach(name IN ITEMS libcjson libpcre2-8 libutf8proc libedit)
    string(MAKE_C_IDENTIFIER ${name} id)
    pkg_check_modules(${id} QUIET IMPORTED_TARGET ${name})
    if(NOT ${id}_FOUND)
        message(FATAL_ERROR "${name} not found by pkg-config: run scripts/setup.sh, or install its development package")
    endif()
endforeach()

# Headers that know cooperative matrices, and volk, which is compiled with the project (one file in engine/gpu).
set(minimum_headers 300)
set(prefix_include "")
if(RF_PREFIX)
    set(prefix_include "${RF_PREFIX}/include")
endif()
unset(RF_VULKAN_INCLUDE CACHE)
unset(RF_VOLK_INCLUDE CACHE)
unset(RF_GLSLANG CACHE)
unset(RF_SPIRV_VAL CACHE)
find_path(RF_VULKAN_INCLUDE vulkan/vulkan_core.h HINTS ${prefix_include})
find_path(RF_VOLK_INCLUDE volk.h HINTS ${prefix_include})
if(NOT RF_VULKAN_INCLUDE OR NOT RF_VOLK_INCLUDE)
    message(FATAL_ERROR "vulkan/vulkan_core.h or volk.h not found: run scripts/setup.sh, or set RF_PREFIX")
endif()
file(STRINGS "${RF_VULKAN_INCLUDE}/vulkan/vulkan_core.h" header_line REGEX "^#define VK_HEADER_VERSION [0-9]+")
string(REGEX MATCH "[0-9]+$" RF_VULKAN_HEADER_VERSION "${header_line}")
if(RF_VULKAN_HEADER_VERSION LESS minimum_headers)
    message(FATAL_ERROR "Vulkan headers in ${RF_VULKAN_INCLUDE} are version ${RF_VULKAN_HEADER_VERSION}, want "
        "${minimum_headers} or newer: run scripts/setup.sh, or set RF_PREFIX")
endif()
file(STRINGS "${RF_VOLK_INCLUDE}/volk.h" volk_line REGEX "^struct VolkInstanceTable")
if(NOT volk_line)
    message(FATAL_ERROR "${RF_VOLK_INCLUDE}/volk.h has no struct VolkInstanceTable, it is too old: run "
        "scripts/setup.sh, or set RF_PREFIX")
endif()

find_program(RF_GLSLANG NAMES glslang glslangValidator HINTS ${RF_PREFIX}/bin)
find_program(RF_SPIRV_VAL NAMES spirv-val HINTS ${RF_PREFIX}/bin)
if(NOT RF_GLSLANG)
    message(FATAL_ERROR "glslang not found: run scripts/setup.sh, or set RF_PREFIX")
endif()
execute_process(COMMAND "${RF_GLSLANG}" --version OUTPUT_VARIABLE glslang_text ERROR_QUIET RESULT_VARIABLE glslang_rc)
string(REGEX MATCH "Glslang Version: [0-9]+:([0-9]+)\\.([0-9]+)" glslang_match "${glslang_text}")
set(RF_GLSLANG_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}")
if(NOT glslang_rc EQUAL 0 OR RF_GLSLANG_VERSION VERSION_LESS 14.0)
    message(FATAL_ERROR "${RF_GLSLANG} is version ${RF_GLSLANG_VERSION}, want 14.0 or newer: run scripts/setup.sh")
endif()

add_library(rf_dependencies INTERFACE)
target_include_directories(rf_dependencies SYSTEM INTERFACE "${RF_VULKAN_INCLUDE}" "${RF_VOLK_INCLUDE}")
target_link_libraries(rf_dependencies INTERFACE
    PkgConfig::libcjson PkgConfig::libpcre2_8 PkgConfig::libutf8proc Threads::Threads ${CMAKE_DL_LIBS} m)
add_library(rf_editline INTERFACE)
target_link_libraries(rf_editline INTERFACE PkgConfig::libedit)
