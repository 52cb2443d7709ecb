# cmake -DSHADERS=folder -DFILE=name -DFROM=text -DTO=text -DOUTPUT=folder -P plant.cmake
# Copies the shader sources to OUTPUT with one text replaced in FILE. The text must be there: a shader that
# was rewritten needs its fault planted anew.
file(GLOB sources "${SHADERS}/*.comp" "${SHADERS}/*.glsl" "${SHADERS}/*.h")
foreach(source IN LISTS sources)
    get_filename_component(name "${source}" NAME)
    configure_file("${source}" "${OUTPUT}/${name}" COPYONLY)
endforeach()
string(REPLACE "\\n" "\n" FROM "${FROM}")
string(REPLACE "\\n" "\n" TO "${TO}")
file(READ "${SHADERS}/${FILE}" text)
string(FIND "${text}" "${FROM}" at)
if(at EQUAL -1)
    message(FATAL_ERROR "tests/kernels/planted.cmake: ${FILE} no longer holds \"${FROM}\"")
endif()
string(REPLACE "${FROM}" "${TO}" text "${text}")
file(WRITE "${OUTPUT}/${FILE}" "${text}")
