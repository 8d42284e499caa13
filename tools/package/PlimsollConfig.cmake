# find_package(Plimsoll): the compiler as targets, and plim_add_model to use it in a build (docs/ci.md).
#
#   Plimsoll::plimc, Plimsoll::plim-opt, Plimsoll::plim-dump   the tools
#   Plimsoll::plim     for C and C++: the folder of plimsoll/plim.h, and what a program with a model's library links
#   Plimsoll_MODELS    the folder of the models that come with Plimsoll
#
# Everything is found from where this file lies, so an installed tree can be moved. Links are resolved first: where
# /lib is a link to /usr/lib, share is beside the latter.
if(CMAKE_VERSION VERSION_LESS 3.20)
  set(Plimsoll_FOUND FALSE)
  set(Plimsoll_NOT_FOUND_MESSAGE "Plimsoll's rules need CMake 3.20 or later (dependency files with make)")
  return()
endif()

get_filename_component(Plimsoll_PREFIX "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
cmake_path(SET Plimsoll_PREFIX NORMALIZE "${Plimsoll_PREFIX}/../../..")
set(Plimsoll_MODELS "${Plimsoll_PREFIX}share/plimsoll/models")

foreach(tool plimc plim-opt plim-dump)
  if(NOT TARGET Plimsoll::${tool})
    add_executable(Plimsoll::${tool} IMPORTED GLOBAL)
    set_target_properties(Plimsoll::${tool} PROPERTIES IMPORTED_LOCATION "${Plimsoll_PREFIX}bin/${tool}")
  endif()
endforeach()
if(NOT TARGET Plimsoll::plim)
  add_library(Plimsoll::plim INTERFACE IMPORTED GLOBAL)
  set_target_properties(Plimsoll::plim PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${Plimsoll_PREFIX}include"
    INTERFACE_LINK_LIBRARIES "m;pthread;${CMAKE_DL_LIBS}")
endif()

include("${CMAKE_CURRENT_LIST_DIR}/PlimsollModel.cmake")
