#include "common/json.h"

#include <set>
#include <vector>

#include "common/error.h"
#include "common/file.h"
#include "common/wording.h"

namespace enodia {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr int64_t kMaxBytes = int64_t{256} << 20;

/// Builds the value from the parser's events. The library's own builder scans all siblings at the
/// end of each object when it is given a filter, and all keys at each key: quadratic in the size of
/// a manifest. This one is linear but for the logarithm of the duplicate check.
class Builder {
 public:
  explicit Builder(const std::string& source) : source_(source) {}
  Json take() { return std::move(root_); }

  bool null() { return add(Json(nullptr)); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(Json::number_integer_t value) { return add(Json(value)); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(Json(value)); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    if (!open_.back().keys.insert(name).second) {
      throw FileError(source_ + ": the key " + quote(name) + " occurs twice");
    }
    key_ = std::move(name);
    return true;
  }

  [[noreturn]] bool parse_error(size_t,
                                const std::string&,
                                const nlohmann::json::exception& error) {
    // The reason ends with the text read last, which may be as long as the file.
    constexpr size_t kLongest = 300;
    std::string reason = error.what();
    if (const size_t name = reason.find("] "); reason.starts_with('[') && name < kLongest) {
      reason.erase(0, name + 2);  // the library's name of the error: "[json.exception.parse ...] "
    }
    throw FileError(source_ + " is not valid JSON: " +
                    (reason.size() > kLongest ? reason.substr(0, kLongest) + "..." : reason));
  }

 private:
  struct Open {
    Json* value;  // stays put: its parent does not grow before it is closed
    std::set<std::string> keys;
  };

  Json* place(Json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back().value;
    if (parent.is_array()) {
      auto& elements = parent.get_ref<Json::array_t&>();
      elements.push_back(std::move(value));
      return &elements.back();
    }
    auto& members = parent.get_ref<Json::object_t&>();
    members.emplace_back(std::move(key_), std::move(value));
    return &members.back().second;
  }

  bool add(Json&& value) {
    place(std::move(value));
    return true;
  }

  bool open(Json&& value) {
    if (open_.size() == kMaxDepth) {
      throw FileError(source_ + ": JSON is nested deeper than 64 levels");
    }
    Json* placed = place(std::move(value));
    open_.push_back({placed, {}});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& source_;
  Json root_;
  std::vector<Open> open_;
  std::string key_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  // The library takes a NUL for the end of the text, whatever follows.
  if (const size_t place = text.find('\0'); place != std::string_view::npos) {
    throw FileError(source + " is not valid JSON: byte " + std::to_string(place) + " is zero");
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    throw FileError(source + " is not valid JSON: it is empty; get the file anew");
  }
  Builder builder(source);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path, kMaxBytes), path.string());
}

}  // namespace enodia
