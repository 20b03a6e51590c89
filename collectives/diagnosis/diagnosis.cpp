#include "collectives/diagnosis/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "collectives/diagnosis/link_judgement.h"

namespace enodia {
namespace {

constexpr size_t kMostInMatrix = 16, kSlowestShown = 10;

template <typename... Args>
std::string format(const char* pattern, Args... args) {
  std::string text(static_cast<size_t>(std::snprintf(nullptr, 0, pattern, args...)), '\0');
  std::snprintf(text.data(), text.size() + 1, pattern, args...);
  return text;
}

std::string gib(int64_t bytes) {
  return bytes < 0 ? "unknown" : format("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

std::string limit_text(int64_t limit, int64_t unit, const char* name) {
  return limit == INT64_MAX ? "unlimited" : std::to_string(limit / unit) + name;
}

std::string yes(bool value) {
  return value ? "yes" : "no";
}

std::string mpi_text(const RankFacts& facts) {
  std::string text = "MPI     " + facts.mpi_library + "\n        thread level " +
                     facts.thread_level + ", takes device pointers: " + yes(facts.gpu_aware_mpi);
  for (const auto& [name, value] : facts.transports.items()) {
    if (!value.get<std::string>().empty()) {
      text += ", " + name + " = " + value.get<std::string>();
    }
  }
  return text + "\n";
}

std::string device_text(const RankFacts& facts) {
  const std::string seen = facts.nvidia_devices == 0
                               ? "no GPU seen: ranks compute on the CPU"
                               : std::to_string(facts.nvidia_devices) + " NVIDIA devices";
  return seen + "; libcuda " + (facts.has_libcuda ? "found" : "not found") + ", libnccl " +
         (facts.has_libnccl ? "found" : "not found");
}

std::string node_text(const Diagnosis& diagnosis, int node) {
  std::vector<int> ranks;
  std::map<std::pair<std::string, int>, std::vector<int>> bound;  // cores and threads -> ranks
  for (size_t rank = 0; rank < diagnosis.nodes.size(); ++rank) {
    if (diagnosis.nodes[rank] == node) {
      const RankFacts& facts = diagnosis.ranks[rank];
      ranks.push_back(static_cast<int>(rank));
      bound[{core_list_text(facts.bound_cores), facts.threads}].push_back(static_cast<int>(rank));
    }
  }
  const RankFacts& facts = diagnosis.ranks[static_cast<size_t>(ranks[0])];
  std::string flags;
  for (const std::string& flag : facts.cpu_flags) {
    flags += " " + flag;
  }
  std::string text = "node    " + facts.host + ": ranks " + core_list_text(ranks) + "; " +
                     std::to_string(facts.usable_cores.size()) + " cores, " + facts.cpu + flags +
                     (facts.governor.empty() ? "" : ", governor " + facts.governor) + "\n";
  for (const auto& [place, its] : bound) {
    text += format("        ranks %s: %d threads each, may run on cores %s\n",
                   core_list_text(its).c_str(),
                   place.second,
                   place.first.c_str());
  }
  text += "        memory " + gib(facts.memory_free_bytes) + " free of " + gib(facts.memory_bytes) +
          ", swap used " + gib(facts.swap_used_bytes) + ", huge pages " +
          (facts.huge_pages.empty() ? "unknown" : facts.huge_pages) + "\n";
  text += "        " + facts.shared_memory + " " + gib(facts.shared_memory_free_bytes) +
          " free of " + gib(facts.shared_memory_bytes) +
          "; may read neighbors' memory: " + yes(facts.may_read_neighbors) + "\n";
  text += "        limits: " + limit_text(facts.open_files, 1, " files") + ", locked memory " +
          limit_text(facts.locked_memory_bytes, 1024, " KiB") + ", core files " +
          limit_text(facts.core_file_bytes, 1024, " KiB") + "\n";
  return text + "        " + device_text(facts) + "\n";
}

std::string clock_text(const Diagnosis& diagnosis) {
  double apart = 0.0, error = 0.0;
  for (const ClockOffset& clock : diagnosis.clocks) {
    apart = std::max(apart, std::abs(clock.seconds));
    error = std::max(error, clock.error);
  }
  return format(
      "clocks  within %.3f ms of rank 0's, give or take %.3f ms\n", apart * 1e3, error * 1e3);
}

/// One number for each ordered pair of ranks.
template <typename Value>
std::string matrix_text(const std::string& title, const Diagnosis& diagnosis, const Value& value) {
  const size_t ranks = diagnosis.ranks.size();
  std::vector<std::string> cells(ranks * ranks, "-");
  for (const Link& link : diagnosis.links) {
    const size_t low = static_cast<size_t>(link.low), high = static_cast<size_t>(link.high);
    cells[low * ranks + high] = value(link, true);
    cells[high * ranks + low] = value(link, false);
  }
  std::string text = title + "\n            ";
  for (size_t to = 0; to < ranks; ++to) {
    text += format("%8zu", to);
  }
  for (size_t from = 0; from < ranks; ++from) {
    text += format("\n  rank %5zu", from);
    for (size_t to = 0; to < ranks; ++to) {
      text += format("%8s", cells[from * ranks + to].c_str());
    }
  }
  return text + "\n";
}

std::string slowest_text(const Diagnosis& diagnosis) {
  std::vector<Link> links = diagnosis.links;
  const auto least = [](const Link& link) { return std::min(link.up_mbit, link.down_mbit); };
  std::sort(links.begin(), links.end(), [&](const Link& a, const Link& b) {
    return least(a) < least(b);
  });
  links.resize(std::min(links.size(), kSlowestShown));
  std::string text = "slowest links of " + std::to_string(diagnosis.links.size()) + "\n";
  for (const Link& link : links) {
    text += format("  ranks %d (%s) and %d (%s): %s there, %s back, %.1f us\n",
                   link.low,
                   diagnosis.ranks[link.low].host.c_str(),
                   link.high,
                   diagnosis.ranks[link.high].host.c_str(),
                   rate_text(link.up_mbit).c_str(),
                   rate_text(link.down_mbit).c_str(),
                   link.latency_us);
  }
  return text;
}

std::string links_text(const Diagnosis& diagnosis) {
  if (diagnosis.links.empty()) {
    return diagnosis.ranks.size() == 1 ? "links   none: one rank\n" : "links   not measured\n";
  }
  if (diagnosis.ranks.size() > kMostInMatrix) {
    return slowest_text(diagnosis);
  }
  return matrix_text("bandwidth in Mbit/s, from the rank of the row to that of the column",
                     diagnosis,
                     [](const Link& link, bool up) {
                       return format("%.0f", up ? link.up_mbit : link.down_mbit);
                     }) +
         matrix_text("latency of a small message in microseconds, one way",
                     diagnosis,
                     [](const Link& link, bool) { return format("%.1f", link.latency_us); });
}

const char* name_of(Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

}  // namespace

int64_t count_findings(const Diagnosis& diagnosis, Severity severity) {
  return std::count_if(diagnosis.findings.begin(),
                       diagnosis.findings.end(),
                       [&](const Finding& finding) { return finding.severity == severity; });
}

std::string to_text(const Diagnosis& diagnosis) {
  std::string text = mpi_text(diagnosis.ranks[0]);
  const int nodes = *std::max_element(diagnosis.nodes.begin(), diagnosis.nodes.end()) + 1;
  for (int node = 0; node < nodes; ++node) {
    text += node_text(diagnosis, node);
  }
  text += clock_text(diagnosis) + links_text(diagnosis);
  for (const Severity severity : {Severity::kWarning, Severity::kError}) {
    for (const Finding& finding : diagnosis.findings) {
      if (finding.severity == severity) {
        text += std::string(name_of(severity)) + " (" + finding.topic + "): " + finding.what +
                "\n    remedy: " + finding.remedy + "\n";
      }
    }
  }
  return text + (diagnosis.findings.empty() ? "nothing wrong was found\n" : "");
}

Json to_json(const Diagnosis& diagnosis) {
  Json ranks = Json::array(), links = Json::array(), findings = Json::array();
  for (size_t rank = 0; rank < diagnosis.ranks.size(); ++rank) {
    Json json = to_json(diagnosis.ranks[rank]);
    json["node"] = diagnosis.nodes[rank];
    json["clock_offset_s"] = diagnosis.clocks[rank].seconds;
    json["clock_error_s"] = diagnosis.clocks[rank].error;
    ranks.push_back(json);
  }
  for (const Link& link : diagnosis.links) {
    links.push_back({{"low", link.low},
                     {"high", link.high},
                     {"latency_us", link.latency_us},
                     {"quickest_us", link.quickest_us},
                     {"low_to_high_mbit", link.up_mbit},
                     {"high_to_low_mbit", link.down_mbit}});
  }
  for (const Finding& finding : diagnosis.findings) {
    findings.push_back({{"severity", name_of(finding.severity)},
                        {"topic", finding.topic},
                        {"what", finding.what},
                        {"remedy", finding.remedy}});
  }
  return {{"ranks", ranks}, {"links", links}, {"findings", findings}};
}

}  // namespace enodia
