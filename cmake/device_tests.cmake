# rf_add_device_test(NAME name COMMAND program args... DRIVERS driver... [ENV VAR=value...] [TIMEOUT seconds]
#                    [LABELS label...] [NO_VALIDATION])
# One CTest per driver, called name.driver and labelled with the driver, started through scripts/with-driver.sh. The
# validation layer is on, with synchronization validation, and whatever it prints fails the test. Exit status 77, from
# the program or because the driver is not there, is a skipped test. Drivers: lavapipe, lavapipe-new, swiftshader,
# radv-CHIP, default (what the machine has; for tests that want a real GPU).
# COMMAND may name a target. The newer layer prints a line of its own on stdout, so a test that reads a program's stdout
# says NO_VALIDATION. Sanitizer builds run on stock lavapipe alone: their runtimes and the other drivers' dynamic
# linker do not go together.
function(rf_add_device_test)
    cmake_parse_arguments(arg "NO_VALIDATION" "NAME;TIMEOUT" "COMMAND;DRIVERS;ENV;LABELS" ${ARGN})
    if(NOT arg_NAME OR NOT arg_COMMAND OR NOT arg_DRIVERS OR arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "rf_add_device_test wants NAME, COMMAND and DRIVERS; have: ${ARGN}")
    endif()
    list(POP_FRONT arg_COMMAND program)
    if(TARGET ${program})
        set(program $<TARGET_FILE:${program}>)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 600)
    endif()
    foreach(driver IN LISTS arg_DRIVERS)
        if(RF_SANITIZE AND NOT driver STREQUAL "lavapipe")
            continue()
        endif()
        set(test "${arg_NAME}.${driver}")
        add_test(NAME ${test}
            COMMAND "${PROJECT_SOURCE_DIR}/scripts/with-driver.sh" ${driver} "${program}" ${arg_COMMAND})
        file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/cache/${driver}")
        set(environment ${arg_ENV} "XDG_CACHE_HOME=${PROJECT_BINARY_DIR}/cache/${driver}")
        if(RF_SANITIZE)
            list(APPEND environment ${sanitizer_environment})
        elseif(NOT arg_NO_VALIDATION)
            list(APPEND environment "RF_VALIDATION_LOG=${PROJECT_BINARY_DIR}/validation/${test}.log")
        endif()
        set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${arg_TIMEOUT}
            ENVIRONMENT "${environment}" LABELS "${driver};${arg_LABELS}")
    endforeach()
endfunction()

file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/validation")
if(RF_SANITIZE)
    add_library(keep_modules MODULE "${PROJECT_SOURCE_DIR}/tests/drivers/keep_modules.c")
    target_compile_options(keep_modules PRIVATE -fno-sanitize=all)
    target_link_options(keep_modules PRIVATE -fno-sanitize=all)
    set(sanitizer_environment
        "LD_PRELOAD=$<TARGET_FILE:keep_modules>"
        "ASAN_OPTIONS=verify_asan_link_order=0"
        "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/drivers/lsan.supp:print_suppressions=0"
        "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/drivers/tsan.supp"
        "UBSAN_OPTIONS=print_stacktrace=1")
endif()
