# plim_add_model(NAME MODEL FILE
#                [TARGET cpu|cpu:NAME|cuda:sm_XX] [CONFIG NAME|FILE.json] [DEFINES SIZE=VALUE...]
#                [ENTRIES NAME...] [PRECISION f32|bf16] [BUDGET SIZE] [INCLUDES DIR...] [OPTIONS FLAG...]
#                [EMIT exe|lib] [SUMMARY FILE [FAIL_IF CONDITION...]])
#
# Compiles a model when the project is built, and again when the model, a file it uses, its configuration or the
# compiler itself changes. Relative files are looked for in the source folder of the caller.
#
# EMIT exe (the default): NAME is an imported executable, the file NAME in the caller's binary folder.
# EMIT lib: NAME is an imported library; target_link_libraries(x NAME) is all that x needs to #include "NAME.h".
#   In the header's name and in those of its functions, - and . become _, as plimc has it.
#
# SUMMARY: a file of the project, kept with its source, with the plan's figures. The build compares the new plan with
# it, prints what changed, and fails where one of the conditions holds (plim-dump --fail-if; default: different).
#
# Targets to build: NAME-compile and NAME-check, which are in `all`; NAME-accept writes the SUMMARY anew.
cmake_policy(PUSH)
cmake_policy(VERSION 3.20...3.25)

function(plim_add_model name)
  set(one MODEL TARGET CONFIG PRECISION BUDGET EMIT SUMMARY)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "${one}" "DEFINES;ENTRIES;INCLUDES;OPTIONS;FAIL_IF")
  if(arg_UNPARSED_ARGUMENTS OR arg_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR
      "plim_add_model(${name}): what is ${arg_UNPARSED_ARGUMENTS}${arg_KEYWORDS_MISSING_VALUES}?")
  endif()
  if(NOT arg_MODEL)
    message(FATAL_ERROR "plim_add_model(${name}): which MODEL?")
  endif()
  if(arg_FAIL_IF AND NOT arg_SUMMARY)
    message(FATAL_ERROR "plim_add_model(${name}): FAIL_IF needs a SUMMARY to compare with")
  endif()
  get_filename_component(model "${arg_MODEL}" ABSOLUTE)
  if(NOT EXISTS "${model}")
    message(FATAL_ERROR "plim_add_model(${name}): there is no ${model}")
  endif()

  set(work "${CMAKE_CURRENT_BINARY_DIR}/plimsoll/${name}")
  file(MAKE_DIRECTORY "${work}")
  if(NOT arg_EMIT OR arg_EMIT STREQUAL "exe")
    set(emit exe)
    set(out "${CMAKE_CURRENT_BINARY_DIR}/${name}")
    set(also)
  elseif(arg_EMIT STREQUAL "lib")
    set(emit lib)
    set(out "${work}/lib${name}.a")
    string(REGEX REPLACE "[-.]" "_" header "${name}")
    set(also "${work}/${header}.h")
  else()
    message(FATAL_ERROR "plim_add_model(${name}): EMIT is exe or lib, not ${arg_EMIT}")
  endif()

  _plim_flags(flags)
  # The tool by its place and not by its target, so that a new compiler makes new programs. The target below depends
  # on a stamp: of a file with the name and place of NAME, CMake would think that it is NAME itself, which waits for it.
  get_target_property(plimc Plimsoll::plimc IMPORTED_LOCATION)
  cmake_path(SET runtime NORMALIZE "${plimc}/../../lib/plimsoll/libplim_runtime.a")
  add_custom_command(OUTPUT "${out}" ${also} "${work}/compiled"
    COMMAND "${plimc}" "${model}" --emit ${emit} -o "${out}" -MD "${work}/${name}.d" --quiet ${flags}
    COMMAND "${CMAKE_COMMAND}" -E touch "${work}/compiled"
    DEPENDS "${model}" "${plimc}" "${runtime}"
    DEPFILE "${work}/${name}.d"
    COMMENT "Compiling the model ${name}"
    VERBATIM)
  add_custom_target(${name}-compile ALL DEPENDS "${work}/compiled")

  if(emit STREQUAL "exe")
    add_executable(${name} IMPORTED GLOBAL)
  else()
    add_library(${name} STATIC IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${work}" INTERFACE_LINK_LIBRARIES Plimsoll::plim)
  endif()
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${out}")
  # Whoever uses NAME waits for it to be compiled.
  add_dependencies(${name} ${name}-compile)

  if(arg_SUMMARY)
    _plim_summary()
  endif()
endfunction()

# Of the caller's arguments: plimc's flags, into the variable out.
macro(_plim_flags out)
  set(${out})
  foreach(flag TARGET PRECISION BUDGET)
    if(arg_${flag})
      string(TOLOWER "--${flag}" word)
      list(APPEND ${out} ${word} "${arg_${flag}}")
    endif()
  endforeach()
  if(arg_CONFIG MATCHES "\\.json$")
    get_filename_component(arg_CONFIG "${arg_CONFIG}" ABSOLUTE)
  endif()
  if(arg_CONFIG)
    list(APPEND ${out} --config "${arg_CONFIG}")
  endif()
  foreach(define IN LISTS arg_DEFINES)
    list(APPEND ${out} -D "${define}")
  endforeach()
  foreach(folder IN LISTS arg_INCLUDES)
    get_filename_component(folder "${folder}" ABSOLUTE)
    list(APPEND ${out} -I "${folder}")
  endforeach()
  if(arg_ENTRIES)
    string(REPLACE ";" "," entries "${arg_ENTRIES}")
    list(APPEND ${out} --entry "${entries}")
  endif()
  list(APPEND ${out} ${arg_OPTIONS})
endmacro()

# Targets that hold the plan in `out` against the caller's SUMMARY. They run whenever they are asked for: it takes a
# few milliseconds, and a summary that is not there yet is an answer, not a missing dependency.
macro(_plim_summary)
  get_filename_component(summary "${arg_SUMMARY}" ABSOLUTE)
  get_target_property(plim_dump Plimsoll::plim-dump IMPORTED_LOCATION)
  set(rules "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/PlimsollSummary.cmake")
  if(NOT arg_FAIL_IF)
    set(arg_FAIL_IF different)
  endif()
  # As plim-dump takes several; a list would be taken apart on the command line.
  string(REPLACE ";" "," conditions "${arg_FAIL_IF}")
  set(script "${CMAKE_COMMAND}" -D "PLIM_DUMP=${plim_dump}" -D "NAME=${name}" -D "PLAN=${out}"
      -D "SUMMARY=${summary}" -D "FAIL_IF=${conditions}")
  add_custom_target(${name}-check ALL COMMAND ${script} -P "${rules}"
    COMMENT "Comparing the plan of ${name}" VERBATIM)
  add_custom_target(${name}-accept COMMAND ${script} -D ACCEPT=ON -P "${rules}"
    COMMENT "Accepting the plan of ${name}" VERBATIM)
  add_dependencies(${name}-check ${name}-compile)
  add_dependencies(${name}-accept ${name}-compile)
endmacro()

cmake_policy(POP)
