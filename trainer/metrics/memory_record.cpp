#include "trainer/metrics/memory_record.h"

#include <fstream>
#include <sstream>
#include <string>

namespace enodia {

ResidentMemory resident_memory() {
  ResidentMemory memory;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);  // "VmRSS:     1234 kB"
    std::string name;
    int64_t kilobytes = 0;
    if (words >> name >> kilobytes) {
      if (name == "VmRSS:") {
        memory.now = kilobytes * 1024;
      } else if (name == "VmHWM:") {
        memory.peak = kilobytes * 1024;
      }
    }
  }
  return memory;
}

Json MemoryRecord::to_json() const {
  Json json;
  for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
    json[std::string(name_of(static_cast<MemoryKind>(kind)))] = tensors.peak[kind];
  }
  json["peak_total"] = tensors.peak_total;
  json["peak_total_max"] = largest_peak;
  json["after_step"] = tensors.total;
  json["resident"] = resident.now;
  json["resident_peak"] = resident.peak;
  return json;
}

}  // namespace enodia
