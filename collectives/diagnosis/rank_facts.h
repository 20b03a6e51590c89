#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json.h"

namespace enodia {

/// What a rank knows of its process and machine. Numbers that a system does not tell are -1, texts
/// empty.
struct RankFacts {
  std::string host;
  std::string program;  ///< version and hash of the program's file
  std::string mpi_library;
  std::string thread_level;
  Json transports;                ///< settings of the MPI library that choose transports, by name
  bool gpu_aware_mpi = false;     ///< takes device pointers
  std::vector<int> usable_cores;  ///< of the machine, or of its container or job
  std::vector<int> bound_cores;   ///< that this rank may run on
  double core_quota = -1.0;       ///< cores' worth of time that a container allows
  int threads = 1;                ///< of this rank's computations
  std::string cpu;                ///< model name
  std::vector<std::string> cpu_flags;  ///< those of avx2, avx512f, avx512_bf16, amx_bf16, neon
  std::string governor, clock_source, huge_pages;
  std::string shared_memory;  ///< folder that holds it
  int64_t shared_memory_bytes = -1, shared_memory_free_bytes = -1;
  int64_t memory_free_bytes = -1, memory_bytes = -1, swap_used_bytes = -1;
  int64_t open_files = -1, locked_memory_bytes = -1, core_file_bytes = -1;  ///< limits; max = none
  bool may_read_neighbors = true;  ///< process_vm_readv on other ranks of the node
  int nvidia_devices = 0;
  bool has_libcuda = false, has_libnccl = false;
};

Json to_json(const RankFacts& facts);
RankFacts facts_from_json(const Json& json);

/// Reads /proc, /sys and limits of this process; the fields on MPI and on neighbors are the
/// caller's. `shared_memory` is the folder that MPI keeps its segments in. Local; never throws for
/// a file that is missing.
RankFacts read_rank_facts(const std::string& shared_memory);

/// "0-2,7" as {0, 1, 2, 7}; what cannot be read is left out.
std::vector<int> parse_core_list(std::string_view text);
/// {0, 1, 2, 7} as "0-2,7".
std::string core_list_text(const std::vector<int>& cores);
/// "200000 100000" of cgroup's cpu.max as 2.0; "max ..." and what cannot be read as nothing.
std::optional<double> parse_core_quota(std::string_view text);
/// The value of `key` in /proc/meminfo's text, in bytes, or -1.
int64_t parse_meminfo(std::string_view text, std::string_view key);
/// The word in brackets of "always [madvise] never".
std::string parse_choice(std::string_view text);

/// Whether this process may read eight bytes at `address` of process `pid`: what Open MPI's shared
/// memory does with large messages (process_vm_readv), and containers or Yama may forbid.
bool may_read_memory_of(int pid, uint64_t address);

}  // namespace enodia
