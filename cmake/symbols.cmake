# What an application that links the library gets to see: the functions that the public headers declare, and nothing else, so
# that its own volk, cJSON or helper of the same name never meets ours.

# rf_symbol_versions(TARGET SOVERSION): gives the shared library's symbols a version, so that a process may hold two
# releases whose sonames differ, binds its calls to itself, and has the linker refuse a symbol that nobody defines.
function(rf_symbol_versions target soversion)
    if(APPLE OR WIN32)
        return()
    endif()
    # What is public is decided by RF_API in refusion*.h: other names are hidden before the linker sees this.
    set(map "${PROJECT_BINARY_DIR}/refusion.map")
    file(CONFIGURE OUTPUT "${map}" CONTENT "REFUSION_${soversion} {\nglobal:\n    rf_*;\nlocal:\n    *;\n};\n")
    target_link_options(${target} PRIVATE "-Wl,--version-script=${map}" -Wl,-Bsymbolic)
    if(NOT RF_SANITIZE AND NOT RF_FUZZ) # their runtimes stand in the program
        target_link_options(${target} PRIVATE -Wl,--no-undefined)
    endif()
    set_target_properties(${target} PROPERTIES LINK_DEPENDS "${map}")
endfunction()

# rf_localise(ARCHIVE OUTPUT VARIABLE): links an archive's files into one object in which hidden symbols are local, and sets
# VARIABLE to that object; to nothing where there is no objcopy.
function(rf_localise archive output variable)
    set(${variable} "" PARENT_SCOPE)
    if(APPLE OR WIN32 OR NOT CMAKE_OBJCOPY)
        message(STATUS "librefusion.a shows internal symbols: there is no objcopy that could hide them")
        return()
    endif()
    separate_arguments(flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
    # With link-time optimisation on, one object is only possible as machine code.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        list(APPEND flags -flinker-output=nolto-rel)
    endif()
    add_custom_command(OUTPUT "${output}"
        COMMAND "${CMAKE_C_COMPILER}" ${flags} -r -nostdlib -o "${output}"
            -Wl,--whole-archive "$<TARGET_FILE:${archive}>" -Wl,--no-whole-archive
        COMMAND "${CMAKE_OBJCOPY}" --localize-hidden "${output}"
        DEPENDS ${archive} COMMENT "Making everything but the public functions local" VERBATIM)
    set(${variable} "${output}" PARENT_SCOPE)
endfunction()
