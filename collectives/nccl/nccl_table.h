#pragma once

#include <cstddef>
#include <string>

#include <nccl.h>

namespace enodia {

/// The NCCL functions that Enodia calls, and no others. The library is opened at run time, so that
/// the program starts on machines without it; tests put fakes in its place.
struct NcclTable {
  ncclResult_t (*get_version)(int* version);
  ncclResult_t (*get_unique_id)(ncclUniqueId* id);
  ncclResult_t (*comm_init_rank_config)(
      ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config);
  ncclResult_t (*comm_split)(
      ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t* config);
  ncclResult_t (*comm_destroy)(ncclComm_t comm);
  ncclResult_t (*comm_abort)(ncclComm_t comm);
  ncclResult_t (*comm_get_async_error)(ncclComm_t comm, ncclResult_t* error);
  ncclResult_t (*group_start)();
  ncclResult_t (*group_end)();
  ncclResult_t (*send)(const void* from,
                       size_t count,
                       ncclDataType_t type,
                       int peer,
                       ncclComm_t comm,
                       cudaStream_t stream);
  ncclResult_t (*recv)(
      void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream);
  ncclResult_t (*all_reduce)(const void* from,
                             void* to,
                             size_t count,
                             ncclDataType_t type,
                             ncclRedOp_t op,
                             ncclComm_t comm,
                             cudaStream_t stream);
  ncclResult_t (*broadcast)(const void* from,
                            void* to,
                            size_t count,
                            ncclDataType_t type,
                            int root,
                            ncclComm_t comm,
                            cudaStream_t stream);
  const char* (*get_error_string)(ncclResult_t result);

  /// Throws CommError, with the call and NCCL's message, unless the result is ncclSuccess.
  void check(ncclResult_t result, const char* call) const;
};

/// Opens the library and fills the table. Throws CommError, one sentence with the path found, when
/// the library or a function is missing or its version is not the one of the header that Enodia was
/// compiled with (major and minor). With LibTorch for CUDA, open that first: it brings its own
/// copy, and a process has one. Local.
NcclTable load_nccl_table(const std::string& library = "libnccl.so.2");

/// Throws CommError unless the table's library has the version Enodia was compiled with. Local.
void check_nccl_version(const NcclTable& nccl);

}  // namespace enodia
