# Two builds of one source give the same bytes, whatever folders they are in: files are named from the source's root, or
# from the build's. A Debug build keeps whole paths, for debuggers; sanitizers' reports too.
include(CheckCCompilerFlag)

if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT RF_SANITIZE)
    check_c_compiler_flag(-ffile-prefix-map=a=b RF_HAVE_PREFIX_MAP)
    if(RF_HAVE_PREFIX_MAP)
        add_compile_options("-ffile-prefix-map=${PROJECT_SOURCE_DIR}=." "-ffile-prefix-map=${PROJECT_BINARY_DIR}=build")
        if(RF_PREFIX) # its headers, which may lie in the source's folder or elsewhere; the last that fits is taken
            add_compile_options("-ffile-prefix-map=${RF_PREFIX}=prefix")
        endif()
    else()
        message(STATUS "Builds name their folders: the compiler does not know -ffile-prefix-map")
    endif()
endif()
