#pragma once

#include <map>
#include <string>

namespace enodia {

/// What the MPI library says of itself. Local; after MPI was started.
struct MpiBuild {
  std::string library;       ///< MPI_Get_library_version
  std::string thread_level;  ///< that was granted: "single", "funneled", "serialized", "multiple"
  bool gpu_aware = false;    ///< takes CUDA device pointers
  /// Open MPI's settings that choose transports and their values, as far as it has them: pml, btl,
  /// btl_tcp_if_include, btl_vader_single_copy_mechanism, ... Empty value = its own choice.
  std::map<std::string, std::string> transports;
};

MpiBuild describe_mpi_build();

}  // namespace enodia
