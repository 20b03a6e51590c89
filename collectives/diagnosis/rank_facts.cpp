#include "collectives/diagnosis/rank_facts.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "common/file.h"
#include "common/hash.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

std::string text_of_file(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string first_line_of(const fs::path& path) {
  const std::string text = text_of_file(path);
  return text.substr(0, text.find('\n'));
}

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end != text.data() ? std::optional<T>(value) : std::nullopt;
}

/// A file of the control group (version 2) of this process, or of the group that a container shows
/// as the root.
std::string group_file(const std::string& name) {
  std::istringstream groups(text_of_file("/proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::")) {
      const std::string text = first_line_of("/sys/fs/cgroup" + line.substr(3) + "/" + name);
      if (!text.empty()) {
        return text;
      }
    }
  }
  return first_line_of("/sys/fs/cgroup/" + name);
}

std::vector<int> read_usable_cores() {
  std::vector<int> cores = parse_core_list(group_file("cpuset.cpus.effective"));
  return cores.empty() ? parse_core_list(first_line_of("/sys/devices/system/cpu/online")) : cores;
}

std::vector<int> read_bound_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) {
        cores.push_back(core);
      }
    }
  }
  return cores;
}

void read_cpu(RankFacts& facts) {
  std::istringstream lines(text_of_file("/proc/cpuinfo"));
  for (std::string line; std::getline(lines, line) && !line.empty();) {  // the first core's
    const std::string value = line.substr(std::min(line.find(':') + 2, line.size()));
    if (line.starts_with("model name")) {
      facts.cpu = value;
    } else if (line.starts_with("flags") || line.starts_with("Features")) {
      std::istringstream words(value);
      for (std::string word; words >> word;) {
        if (word == "avx2" || word == "avx512f" || word == "avx512_bf16" || word == "amx_bf16" ||
            word == "asimd" || word == "sve") {
          facts.cpu_flags.push_back(word);
        }
      }
    }
  }
  const std::string core = std::to_string(facts.bound_cores.empty() ? 0 : facts.bound_cores[0]);
  facts.governor =
      first_line_of("/sys/devices/system/cpu/cpu" + core + "/cpufreq/scaling_governor");
  facts.clock_source =
      first_line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

void read_memory(RankFacts& facts) {
  const std::string text = text_of_file("/proc/meminfo");
  facts.memory_bytes = parse_meminfo(text, "MemTotal");
  facts.memory_free_bytes = parse_meminfo(text, "MemAvailable");
  facts.swap_used_bytes = parse_meminfo(text, "SwapTotal") - parse_meminfo(text, "SwapFree");
  const auto limit = parse_number<int64_t>(group_file("memory.max"));
  const auto used = parse_number<int64_t>(group_file("memory.current"));
  if (limit && used && *limit < facts.memory_bytes) {
    facts.memory_bytes = *limit;
    facts.memory_free_bytes =
        std::min(facts.memory_free_bytes, std::max<int64_t>(*limit - *used, 0));
  }
  facts.huge_pages = parse_choice(first_line_of("/sys/kernel/mm/transparent_hugepage/enabled"));
  struct statvfs disk {};
  if (statvfs(facts.shared_memory.c_str(), &disk) == 0) {
    facts.shared_memory_bytes = static_cast<int64_t>(disk.f_blocks * disk.f_frsize);
    facts.shared_memory_free_bytes = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
  }
}

int64_t limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) {
    return -1;
  }
  constexpr auto kMost = static_cast<rlim_t>(std::numeric_limits<int64_t>::max());
  return static_cast<int64_t>(std::min(limit.rlim_cur, kMost));
}

bool can_load(const char* library) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) {
    return false;
  }
  dlclose(handle);
  return true;
}

void read_devices(RankFacts& facts) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename();
    facts.nvidia_devices += name.size() > 6 && name.starts_with("nvidia") &&
                            name.find_first_not_of("0123456789", 6) == std::string::npos;
  }
  facts.has_libcuda = can_load("libcuda.so.1");
  facts.has_libnccl = can_load("libnccl.so.2");
}

}  // namespace

std::vector<int> parse_core_list(std::string_view text) {
  std::vector<int> cores;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    const auto first = parse_number<int>(part);
    const size_t dash = part.find('-');
    const auto last =
        dash == std::string_view::npos ? first : parse_number<int>(part.substr(dash + 1));
    if (first && last && *first >= 0 && *last < 1 << 16) {
      for (int core = *first; core <= *last; ++core) {
        cores.push_back(core);
      }
    }
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return cores;
}

std::string core_list_text(const std::vector<int>& cores) {
  std::string text;
  for (size_t first = 0; first < cores.size();) {
    size_t last = first;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) {
      ++last;
    }
    text += (text.empty() ? "" : ",") + std::to_string(cores[first]) +
            (last > first ? "-" + std::to_string(cores[last]) : "");
    first = last + 1;
  }
  return text;
}

std::optional<double> parse_core_quota(std::string_view text) {
  const size_t space = text.find(' ');
  const auto quota = parse_number<double>(text);
  const auto period =
      space == std::string_view::npos ? std::nullopt : parse_number<double>(text.substr(space + 1));
  if (!quota || !period || !(*quota > 0.0) || !(*period > 0.0)) {
    return std::nullopt;
  }
  return *quota / *period;
}

int64_t parse_meminfo(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      line.remove_prefix(key.size() + 1);
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const auto kib = parse_number<int64_t>(line);
      return kib ? *kib * 1024 : -1;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return -1;
}

std::string parse_choice(std::string_view text) {
  const size_t open = text.find('['), close = text.find(']');
  return open < close && close != std::string_view::npos
             ? std::string(text.substr(open + 1, close - open - 1))
             : "";
}

bool may_read_memory_of(int pid, uint64_t address) {
  uint64_t copy = 0;
  const iovec mine{&copy, sizeof(copy)};
  const iovec theirs{reinterpret_cast<void*>(address), sizeof(copy)};
  return process_vm_readv(pid, &mine, 1, &theirs, 1, 0) == sizeof(copy);
}

RankFacts read_rank_facts(const std::string& shared_memory) {
  RankFacts facts;
  std::string host(256, '\0');
  gethostname(host.data(), host.size() - 1);
  facts.host = host.c_str();
  const MappedFile program("/proc/self/exe");
  facts.program = hash_of(program.data(), static_cast<size_t>(program.size()));
  facts.usable_cores = read_usable_cores();
  facts.bound_cores = read_bound_cores();
  facts.core_quota = parse_core_quota(group_file("cpu.max")).value_or(-1.0);
  facts.shared_memory = shared_memory;
  facts.open_files = limit_of(RLIMIT_NOFILE);
  facts.locked_memory_bytes = limit_of(RLIMIT_MEMLOCK);
  facts.core_file_bytes = limit_of(RLIMIT_CORE);
  read_cpu(facts);
  read_memory(facts);
  read_devices(facts);
  return facts;
}

// Every fact once, for both directions.
template <typename Facts, typename Visit>
static void visit_facts(Facts& f, const Visit& visit) {
  visit("host", f.host);
  visit("program", f.program);
  visit("mpi_library", f.mpi_library);
  visit("thread_level", f.thread_level);
  visit("transports", f.transports);
  visit("gpu_aware_mpi", f.gpu_aware_mpi);
  visit("usable_cores", f.usable_cores);
  visit("bound_cores", f.bound_cores);
  visit("core_quota", f.core_quota);
  visit("threads", f.threads);
  visit("cpu", f.cpu);
  visit("cpu_flags", f.cpu_flags);
  visit("governor", f.governor);
  visit("clock_source", f.clock_source);
  visit("huge_pages", f.huge_pages);
  visit("shared_memory", f.shared_memory);
  visit("shared_memory_bytes", f.shared_memory_bytes);
  visit("shared_memory_free_bytes", f.shared_memory_free_bytes);
  visit("memory_bytes", f.memory_bytes);
  visit("memory_free_bytes", f.memory_free_bytes);
  visit("swap_used_bytes", f.swap_used_bytes);
  visit("open_files", f.open_files);
  visit("locked_memory_bytes", f.locked_memory_bytes);
  visit("core_file_bytes", f.core_file_bytes);
  visit("may_read_neighbors", f.may_read_neighbors);
  visit("nvidia_devices", f.nvidia_devices);
  visit("has_libcuda", f.has_libcuda);
  visit("has_libnccl", f.has_libnccl);
}

Json to_json(const RankFacts& facts) {
  Json json = Json::object();
  visit_facts(facts, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

RankFacts facts_from_json(const Json& json) {
  RankFacts facts;
  visit_facts(facts, [&](const char* name, auto& value) { json.at(name).get_to(value); });
  return facts;
}

}  // namespace enodia
