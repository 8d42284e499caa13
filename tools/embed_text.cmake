# Writes OUT, a C file holding the bytes of IN as NAME_text and NAME_size.
# cmake -DIN=nn.plim -DOUT=nn_text.c -DNAME=plim_nn -DHEADER=frontend/nn_text.h -P embed_text.cmake
file(READ ${IN} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "    \\1\n" bytes "${bytes}")
file(WRITE ${OUT} "// Made by tools/embed_text.cmake.\n#include \"${HEADER}\"\n\nconst size_t ${NAME}_size = ${size};\nconst unsigned char ${NAME}_text[] = {\n${bytes}\n    0x00};\n")
