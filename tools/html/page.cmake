# Writes OUT, the page of plim-dump --html, from the files beside this one: style and scripts go into page.html.
# cmake -DOUT=page.html -P page.cmake
# The page may run no script and use no style but these: their digests, in base64, stand in its security policy.
set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

# SHA-256 of a text in base64: 3 bytes, 6 hexadecimal digits, become 4 characters; 2 bytes are left over.
function(digest_of text out)
  string(SHA256 hex "${text}")
  set(result "")
  foreach(at RANGE 0 60 6)
    string(SUBSTRING "${hex}00" ${at} 6 part)
    math(EXPR bits "0x${part}")
    foreach(shift 18 12 6 0)
      math(EXPR digit "(${bits} >> ${shift}) & 63")
      string(SUBSTRING "${digits}" ${digit} 1 character)
      string(APPEND result "${character}")
    endforeach()
  endforeach()
  string(SUBSTRING "${result}" 0 43 result)
  set(${out} "${result}=" PARENT_SCOPE)
endfunction()

# One function holds them all: nothing is global.
set(script "\"use strict\";\n(() => {\n")
foreach(name plan text chart draw panel table page)
  file(READ ${CMAKE_CURRENT_LIST_DIR}/${name}.js part)
  string(APPEND script "${part}")
endforeach()
string(APPEND script "})();\n")
file(READ ${CMAKE_CURRENT_LIST_DIR}/page.css style)
digest_of("${script}" script_digest)
digest_of("${style}" style_digest)
file(READ ${CMAKE_CURRENT_LIST_DIR}/page.html page)
string(REPLACE "@STYLE_DIGEST@" "${style_digest}" page "${page}")
string(REPLACE "@SCRIPT_DIGEST@" "${script_digest}" page "${page}")
string(REPLACE "@STYLE@" "${style}" page "${page}")
string(REPLACE "@SCRIPT@" "${script}" page "${page}")
file(WRITE ${OUT} "${page}")
