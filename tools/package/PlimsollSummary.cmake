# What NAME-check and NAME-accept of plim_add_model run. PLIM_DUMP: the tool; NAME: the model; PLAN: the program or
# library; SUMMARY: the figures kept with the source; FAIL_IF: conditions, between commas; ACCEPT: write, don't compare.
if(ACCEPT)
  execute_process(COMMAND "${PLIM_DUMP}" "${PLAN}" --figures OUTPUT_FILE "${SUMMARY}.new" RESULT_VARIABLE failed)
  if(failed)
    file(REMOVE "${SUMMARY}.new")
    message(FATAL_ERROR "the plan of ${NAME} can't be read")
  endif()
  file(RENAME "${SUMMARY}.new" "${SUMMARY}")
  message(STATUS "${SUMMARY} has the figures of the new plan")
  return()
endif()

set(hint "To accept the plan: cmake --build BUILD --target ${NAME}-accept")
if(NOT EXISTS "${SUMMARY}")
  message(FATAL_ERROR "there is no ${SUMMARY} to compare with.\n${hint}")
endif()
execute_process(COMMAND "${PLIM_DUMP}" "${PLAN}" --diff "${SUMMARY}" --fail-if "${FAIL_IF}"
                OUTPUT_VARIABLE text ERROR_VARIABLE text RESULT_VARIABLE failed)
# Nothing is said where there is nothing to say. Printed as it is: the text of an error would be filled anew.
if(failed OR NOT text MATCHES "figures are the same")
  message("${text}")
endif()
if(failed)
  message(FATAL_ERROR "the plan of ${NAME} is not the one kept in ${SUMMARY}.\n${hint}")
endif()
