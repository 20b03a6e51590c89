#include "collectives/nccl/nccl_table.h"

#include "collectives/nccl/dynamic_library.h"
#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace {

/// 22809 is "2.28.9".
std::string version_text(int code) {
  return detail::concat(code / 10000, ".", code / 100 % 100, ".", code % 100);
}

}  // namespace

void NcclTable::check(ncclResult_t result, const char* call) const {
  if (result != ncclSuccess) {
    throw CommError(detail::concat(call,
                                   " failed: ",
                                   get_error_string(result),
                                   " (",
                                   static_cast<int>(result),
                                   "); run with NCCL_DEBUG=WARN to see where"));
  }
}

void check_nccl_version(const NcclTable& nccl) {
  int found = 0;
  nccl.check(nccl.get_version(&found), "ncclGetVersion");
  if (found / 100 != NCCL_VERSION_CODE / 100) {
    throw CommError("NCCL " + version_text(found) + " was found as " +
                    DynamicLibrary::path_of(reinterpret_cast<const void*>(nccl.get_version)) +
                    ", but Enodia was built for " + version_text(NCCL_VERSION_CODE) +
                    "; install that version or build Enodia with the header of this one");
  }
}

NcclTable load_nccl_table(const std::string& name) {
  const DynamicLibrary library(name);
  NcclTable nccl{};
  library.load("ncclGetVersion", nccl.get_version);
  library.load("ncclGetErrorString", nccl.get_error_string);
  check_nccl_version(nccl);
  library.load("ncclGetUniqueId", nccl.get_unique_id);
  library.load("ncclCommInitRankConfig", nccl.comm_init_rank_config);
  library.load("ncclCommSplit", nccl.comm_split);
  library.load("ncclCommDestroy", nccl.comm_destroy);
  library.load("ncclCommAbort", nccl.comm_abort);
  library.load("ncclCommGetAsyncError", nccl.comm_get_async_error);
  library.load("ncclGroupStart", nccl.group_start);
  library.load("ncclGroupEnd", nccl.group_end);
  library.load("ncclSend", nccl.send);
  library.load("ncclRecv", nccl.recv);
  library.load("ncclAllReduce", nccl.all_reduce);
  library.load("ncclBroadcast", nccl.broadcast);
  return nccl;
}

}  // namespace enodia
