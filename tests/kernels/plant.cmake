# Plants one fault: cmake -DSHADERS=folder -DSOURCE=file.comp -DFILE=name -DFROM=text -DTO=text -DDEFINES=list
#     -DCOMPILER=glslang -DOUTPUT=folder/SHADER.spv -P plant.cmake
# Copies the shader sources beside OUTPUT with one text replaced in FILE and compiles SOURCE. The text must be there: a
# shader that was rewritten needs its fault planted anew. Where it is not, OUTPUT is not made, which fails the test.
get_filename_component(folder "${OUTPUT}" DIRECTORY)
file(REMOVE "${OUTPUT}")
file(GLOB sources "${SHADERS}/*.comp" "${SHADERS}/*.glsl" "${SHADERS}/*.h")
foreach(source IN LISTS sources)
    get_filename_component(name "${source}" NAME)
    configure_file("${source}" "${folder}/source/${name}" COPYONLY)
endforeach()
string(REPLACE "\\n" "\n" FROM "${FROM}")
string(REPLACE "\\n" "\n" TO "${TO}")
file(READ "${SHADERS}/${FILE}" text)
string(FIND "${text}" "${FROM}" at)
if(at EQUAL -1)
    message(WARNING "tests/kernels/planted.cmake: ${FILE} no longer holds \"${FROM}\"")
    return()
endif()
string(REPLACE "${FROM}" "${TO}" text "${text}")
file(WRITE "${folder}/source/${FILE}" "${text}")
list(TRANSFORM DEFINES PREPEND "-D")
execute_process(COMMAND "${COMPILER}" --quiet -V --target-env vulkan1.3 ${DEFINES} -o "${OUTPUT}"
    "${folder}/source/${SOURCE}" RESULT_VARIABLE failed)
if(failed)
    message(WARNING "tests/kernels/planted.cmake: with \"${TO}\" ${SOURCE} does not compile")
    file(REMOVE "${OUTPUT}")
endif()
