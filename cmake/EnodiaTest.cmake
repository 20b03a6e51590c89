# enodia_add_test(name SOURCES a_test.cpp LIBS enodia::x)         one executable, one ctest entry
# enodia_add_test(name ... SHARDS 3)                              its tests in name.0, name.1, name.2
# enodia_add_mpi_test(name SOURCES ... LIBS ... RANKS 1 2 3 4)    name.np1, name.np2 ... through mpiexec
include(GoogleTest)

set(ENODIA_MPI_TEST_ENVIRONMENT
  OMP_NUM_THREADS=1
  OMPI_ALLOW_RUN_AS_ROOT=1
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1
  OMPI_MCA_hwloc_base_binding_policy=none
  OMPI_MCA_mpi_yield_when_idle=1
  OMPI_MCA_pml=ob1
  OMPI_MCA_btl=self,vader,tcp)

function(enodia_add_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;SHARDS" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE enodia::options ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  if(NOT ARG_SHARDS)
    set(ARG_SHARDS 1)
  endif()
  math(EXPR last "${ARG_SHARDS} - 1")
  foreach(shard RANGE ${last})
    set(entry ${name})
    if(ARG_SHARDS GREATER 1)
      string(APPEND entry .${shard})
    endif()
    add_test(NAME ${entry} COMMAND ${name})
    set_tests_properties(${entry} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
      ENVIRONMENT "OMP_NUM_THREADS=1;GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${shard}")
  endforeach()
endfunction()

function(enodia_add_mpi_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;RANKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/mpi_main.cpp)
  target_link_libraries(${name} PRIVATE enodia::options ${ARG_LIBS} enodia::mpi GTest::gmock GTest::gtest)
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${name}.np${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.np${ranks} PROPERTIES
      PROCESSORS 2 TIMEOUT ${ARG_TIMEOUT} LABELS "mpi;${ARG_LABELS}"
      ENVIRONMENT "${ENODIA_MPI_TEST_ENVIRONMENT}")
  endforeach()
endfunction()
