# Target `docs`: pages of the public headers in docs/html of the build folder.
find_program(RF_DOXYGEN doxygen)
find_program(RF_AWK awk)
if(RF_DOXYGEN AND RF_AWK)
    configure_file(cmake/Doxyfile.in Doxyfile @ONLY)
    add_custom_target(docs COMMAND "${RF_DOXYGEN}" "${PROJECT_BINARY_DIR}/Doxyfile"
        COMMENT "Writing docs/html" VERBATIM)
endif()
