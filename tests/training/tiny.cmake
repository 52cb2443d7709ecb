# The tiny model's data: Python with its standard library alone.
find_program(RF_PYTHON python3)
if(RF_PYTHON)
    add_test(NAME training.tiny_data COMMAND "${RF_PYTHON}" "${CMAKE_CURRENT_LIST_DIR}/test_tiny_data.py")
    set_tests_properties(training.tiny_data PROPERTIES TIMEOUT 300 LABELS training ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endif()
