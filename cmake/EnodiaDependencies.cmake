# Everything from outside. LibTorch is linked through targets of our own: find_package(Torch) takes
# 19 s, wants the whole CUDA stack at link time and sets global flags.
find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_library(SENTENCEPIECE_LIBRARY sentencepiece REQUIRED)
find_path(SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h REQUIRED)
find_library(SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(ONIGURUMA_LIBRARY onig REQUIRED)
find_path(ONIGURUMA_INCLUDE_DIR oniguruma.h REQUIRED)
find_library(UTF8PROC_LIBRARY utf8proc REQUIRED)
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)

# LibTorch: the user's own through CMAKE_PREFIX_PATH, else what scripts/setup.sh unpacked.
find_path(ENODIA_TORCH_INCLUDE_DIR ATen/core/Tensor.h
  PATHS $ENV{ENODIA_CACHE}/libtorch-2.11.0/torch $ENV{HOME}/.cache/enodia/libtorch-2.11.0/torch
  PATH_SUFFIXES include)
if(NOT ENODIA_TORCH_INCLUDE_DIR)
  message(FATAL_ERROR "LibTorch was not found. Run scripts/setup.sh, or pass "
    "-DCMAKE_PREFIX_PATH=/path/to/libtorch of your own LibTorch 2.11.")
endif()
get_filename_component(ENODIA_LIBTORCH ${ENODIA_TORCH_INCLUDE_DIR} DIRECTORY)
set(version_header ${ENODIA_TORCH_INCLUDE_DIR}/torch/headeronly/version.h)
if(EXISTS ${version_header})
  file(STRINGS ${version_header} torch_version REGEX "define TORCH_VERSION_M(AJOR|INOR) ")
endif()
if(NOT torch_version MATCHES "MAJOR 2;.*MINOR 11$")
  message(WARNING "The LibTorch in ${ENODIA_LIBTORCH} is not 2.11, the version Enodia is tested with")
endif()
# The wheel has libgomp.so.1, other builds of LibTorch libgomp-<hash>.so.1 or none (then GCC's serves).
file(GLOB ENODIA_LIBTORCH_OPENMP ${ENODIA_LIBTORCH}/lib/libgomp*.so*)

add_library(enodia_torch INTERFACE)
add_library(enodia::torch ALIAS enodia_torch)
target_include_directories(enodia_torch SYSTEM INTERFACE
  ${ENODIA_LIBTORCH}/include ${ENODIA_LIBTORCH}/include/torch/csrc/api/include)
# No header may pull in every operator: a file names those it uses.
target_compile_definitions(enodia_torch INTERFACE AT_PER_OPERATOR_HEADERS)
# at::parallel_for is inline OpenMP: without -fopenmp on the including file it runs sequentially.
target_compile_options(enodia_torch INTERFACE -fopenmp)
# libcudart and libcupti lie beside LibTorch and are found at run time through its own RPATH.
target_link_libraries(enodia_torch INTERFACE
  ${ENODIA_LIBTORCH}/lib/libtorch_cpu.so ${ENODIA_LIBTORCH}/lib/libc10.so
  ${ENODIA_LIBTORCH_OPENMP})
target_link_options(enodia_torch INTERFACE -Wl,--allow-shlib-undefined)

add_library(enodia_mpi INTERFACE)
add_library(enodia::mpi ALIAS enodia_mpi)
target_link_libraries(enodia_mpi INTERFACE MPI::MPI_C)
target_compile_definitions(enodia_mpi INTERFACE OMPI_SKIP_MPICXX)

# NCCL: its header and CUDA's, to compile with. The libraries serve enodia_nccl_link_check alone.
add_library(enodia_nccl INTERFACE)
add_library(enodia::nccl ALIAS enodia_nccl)
set(ENODIA_NCCL OFF)
set(ENODIA_NCCL_STATE "left out")
if(NOT ENODIA_WITH_NCCL STREQUAL "OFF")
  # scripts/setup.sh --gpu puts them beside LibTorch.
  set(nvidia ${ENODIA_LIBTORCH}/../nvidia)
  find_path(ENODIA_CUDA_INCLUDE_DIR cuda_runtime_api.h
    HINTS ${nvidia}/cu13 PATHS /usr/local/cuda PATH_SUFFIXES include)
  find_path(ENODIA_NCCL_INCLUDE_DIR nccl.h
    HINTS ${nvidia}/nccl PATHS /usr/local/cuda PATH_SUFFIXES include)
  find_library(ENODIA_CUDART_LIBRARY cudart PATHS /usr/local/cuda PATH_SUFFIXES lib64 lib)
  find_library(ENODIA_NCCL_LIBRARY nccl PATHS /usr/local/cuda PATH_SUFFIXES lib64 lib)
  if(ENODIA_CUDA_INCLUDE_DIR AND ENODIA_NCCL_INCLUDE_DIR)
    set(ENODIA_NCCL ON)
    set(ENODIA_NCCL_STATE "with ${ENODIA_NCCL_INCLUDE_DIR}/nccl.h")
    target_include_directories(enodia_nccl SYSTEM INTERFACE
      ${ENODIA_NCCL_INCLUDE_DIR} ${ENODIA_CUDA_INCLUDE_DIR})
    target_compile_definitions(enodia_nccl INTERFACE ENODIA_WITH_NCCL)
  elseif(ENODIA_WITH_NCCL STREQUAL "ON")
    message(FATAL_ERROR "ENODIA_WITH_NCCL is ON, but nccl.h (${ENODIA_NCCL_INCLUDE_DIR}) or "
      "cuda_runtime_api.h (${ENODIA_CUDA_INCLUDE_DIR}) was not found. Install them, or pass "
      "-DENODIA_NCCL_INCLUDE_DIR=... and -DENODIA_CUDA_INCLUDE_DIR=..., or -DENODIA_WITH_NCCL=OFF.")
  else()
    set(ENODIA_NCCL_STATE "left out, without nccl.h or cuda_runtime_api.h")
  endif()
endif()

add_library(enodia_sentencepiece INTERFACE)
add_library(enodia::sentencepiece ALIAS enodia_sentencepiece)
target_include_directories(enodia_sentencepiece SYSTEM INTERFACE ${SENTENCEPIECE_INCLUDE_DIR})
target_link_libraries(enodia_sentencepiece INTERFACE ${SENTENCEPIECE_TRAIN_LIBRARY} ${SENTENCEPIECE_LIBRARY})

add_library(enodia_oniguruma INTERFACE)
add_library(enodia::oniguruma ALIAS enodia_oniguruma)
target_include_directories(enodia_oniguruma SYSTEM INTERFACE ${ONIGURUMA_INCLUDE_DIR})
# libc first (g++ would move -lc to the end): Oniguruma has a regcomp and a regexec of its own, which
# others must not be given.
target_link_libraries(enodia_oniguruma INTERFACE -l:libc.so.6 ${ONIGURUMA_LIBRARY})

add_library(enodia_utf8proc INTERFACE)
add_library(enodia::utf8proc ALIAS enodia_utf8proc)
target_include_directories(enodia_utf8proc SYSTEM INTERFACE ${UTF8PROC_INCLUDE_DIR})
target_link_libraries(enodia_utf8proc INTERFACE ${UTF8PROC_LIBRARY})

add_library(enodia_xxhash INTERFACE)
add_library(enodia::xxhash ALIAS enodia_xxhash)
target_include_directories(enodia_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_compile_definitions(enodia_xxhash INTERFACE XXH_INLINE_ALL)

if(ENODIA_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
