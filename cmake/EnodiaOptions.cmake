# What every target of ours is compiled with: the standard, the include root and the warnings.
add_library(enodia_options INTERFACE)
add_library(enodia::options ALIAS enodia_options)
target_compile_features(enodia_options INTERFACE cxx_std_20)
target_include_directories(enodia_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(enodia_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wconversion -Wno-sign-conversion
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # GCC 12: false alarms in std::string (GCC bug 105651)
if(ENODIA_WERROR)
  target_compile_options(enodia_options INTERFACE -Werror)
endif()
if(ENODIA_SANITIZE)
  target_compile_options(enodia_options INTERFACE -fsanitize=${ENODIA_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(enodia_options INTERFACE -fsanitize=${ENODIA_SANITIZE})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# Files that include LibTorch take 1-2 GB each to compile: no more than two at a time.
set_property(GLOBAL PROPERTY JOB_POOLS torch_pool=2)

# enodia_add_library(common SOURCES a.cpp b.cpp PUBLIC libs... PRIVATE libs...)
# One static library per folder, enodia_<name>, with the alias enodia::<name>.
function(enodia_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(enodia_${name} STATIC ${ARG_SOURCES})
  add_library(enodia::${name} ALIAS enodia_${name})
  target_link_libraries(enodia_${name} PUBLIC enodia::options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()
