#include "common/json.h"

#include <set>
#include <vector>

#include "common/error.h"
#include "common/file.h"

namespace enodia {
namespace {

constexpr int kMaxDepth = 64;
constexpr int64_t kMaxBytes = int64_t{256} << 20;

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kMaxDepth) {
      throw FileError(source + ": JSON is nested deeper than 64 levels");
    }
    if (event == Event::object_start) {
      keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw FileError(source + ": the key '" + parsed.get<std::string>() + "' occurs twice");
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(source + " is not valid JSON: " + error.what());
  }
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path, kMaxBytes), path.string());
}

}  // namespace enodia
