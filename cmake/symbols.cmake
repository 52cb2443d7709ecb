# What an application that links the library gets to see: the functions that refusion.h declares, and nothing else, so
# that its own volk, cJSON or helper of the same name never meets ours.

# rf_symbol_versions(TARGET MAP): gives the shared library's symbols a version, binds its calls to itself, and has the
# linker refuse a symbol that nobody defines.
function(rf_symbol_versions target map)
    if(APPLE OR WIN32)
        return()
    endif()
    target_link_options(${target} PRIVATE "-Wl,--version-script=${map}" -Wl,-Bsymbolic)
    if(NOT RF_SANITIZE AND NOT RF_FUZZ) # their runtimes stand in the program
        target_link_options(${target} PRIVATE -Wl,--no-undefined)
    endif()
    set_target_properties(${target} PROPERTIES LINK_DEPENDS "${map}")
endfunction()

# rf_localise(OBJECTS OUTPUT VARIABLE): links an object library's files into one object in which hidden symbols are
# local, and sets VARIABLE to what an archive of it is made of. Where there is no objcopy, the files as they are.
function(rf_localise objects output variable)
    if(APPLE OR WIN32 OR NOT CMAKE_OBJCOPY)
        message(STATUS "librefusion.a shows internal symbols: there is no objcopy that could hide them")
        set(${variable} $<TARGET_OBJECTS:${objects}> PARENT_SCOPE)
        return()
    endif()
    separate_arguments(flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
    # With link-time optimisation on, one object is only possible as machine code.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        list(APPEND flags -flinker-output=nolto-rel)
    endif()
    add_custom_command(OUTPUT "${output}"
        COMMAND "${CMAKE_C_COMPILER}" ${flags} -r -nostdlib -o "${output}" $<TARGET_OBJECTS:${objects}>
        COMMAND "${CMAKE_OBJCOPY}" --localize-hidden "${output}"
        DEPENDS $<TARGET_OBJECTS:${objects}> COMMAND_EXPAND_LISTS VERBATIM
        COMMENT "Making everything but the public functions local")
    set(${variable} "${output}" PARENT_SCOPE)
endfunction()
