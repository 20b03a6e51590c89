#include "checkpoint/safetensors/safetensors_header.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "checkpoint/native/box.h"
#include "common/error.h"
#include "common/json_field.h"
#include "common/wording.h"

namespace enodia {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // MAX_HEADER_SIZE of the reference
constexpr std::string_view kMetadataKey = "__metadata__";

/// The JSON text after the length.
std::string_view header_text(std::span<const std::byte> file, const std::string& source) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.starts_with("version https://git-lfs")) {
    throw FileError(source +
                    " is a git-lfs pointer and not the weights themselves; fetch them with "
                    "'git lfs pull'");
  }
  if (file.size() < kLengthBytes) {
    throw FileError(source + " has " + std::to_string(file.size()) +
                    " bytes, which is too short for a safetensors file; download it again");
  }
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) {
    length = length << 8 | std::to_integer<uint64_t>(file[i]);
  }
  if (length > kMaxHeaderBytes) {
    throw FileError(source + " is not a safetensors file: its header would have " +
                    std::to_string(length) + " bytes, and 100 MB are the limit");
  }
  if (length > file.size() - kLengthBytes) {
    throw FileError(source + " has " + std::to_string(file.size()) +
                    " bytes and ends within its header of " + std::to_string(length) +
                    " bytes; it was cut short, download it again");
  }
  const std::string_view header = text.substr(kLengthBytes, length);
  if (!header.starts_with('{')) {
    throw FileError(source + " is not a safetensors file: its header does not begin with '{'");
  }
  return header;
}

std::map<std::string, std::string> parse_metadata(const JsonField& field) {
  if (!field.value().is_object()) {
    field.fail("must be an object of texts");
  }
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : field.value().items()) {
    metadata[key] = JsonField(value, field.where() + ": the value of " + quote(key)).text();
  }
  return metadata;
}

/// Checks a tensor by itself; its bytes are counted from the beginning of the file's data, which
/// has `data_bytes`.
SafetensorsEntry parse_entry(const std::string& name, const JsonField& field, int64_t data_bytes) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(name.begin(), name.end(), is_control)) {
    field.fail("has control characters in its name");
  }
  field.require_keys({"dtype", "shape", "data_offsets"});
  SafetensorsEntry entry{name, field.at("dtype").text(), field.at("shape").counts()};
  const size_t element_bytes = safetensors_type_bytes(entry.type);
  if (element_bytes == 0) {
    field.fail("has the unknown type " + quote(entry.type));
  }
  if (entry.shape.size() > kMaxDims) {
    field.fail("has " + std::to_string(entry.shape.size()) + " dimensions; at most " +
               std::to_string(kMaxDims) + " are read");
  }
  const std::vector<int64_t> offsets = field.at("data_offsets").counts();
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    field.fail("must have two 'data_offsets', begin and end");
  }
  std::tie(entry.begin, entry.end) = std::pair(offsets[0], offsets[1]);
  if (entry.end > data_bytes) {
    field.fail("ends at byte " + std::to_string(entry.end) + " of the data, of which there are " +
               std::to_string(data_bytes) + "; the file was cut short or is damaged");
  }
  const std::optional<int64_t> count = element_count(entry.shape, element_bytes);
  const int64_t bytes = entry.end - entry.begin;
  if (!count || *count * static_cast<int64_t>(element_bytes) != bytes) {
    field.fail("has shape " + text_of(entry.shape) + " and type " + entry.type +
               ", which do not make the " + std::to_string(bytes) + " bytes it is given");
  }
  return entry;
}

/// Proves that the entries cover the data, each byte once.
void check_layout(std::span<const SafetensorsEntry> entries,
                  int64_t data_bytes,
                  const std::string& source) {
  std::vector<const SafetensorsEntry*> order;
  order.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) {
    order.push_back(&entry);
  }
  // Empty tensors share the offset of what follows them and come before it.
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tie(a->begin, a->end) < std::tie(b->begin, b->end);
  });
  int64_t covered = 0;
  for (const SafetensorsEntry* entry : order) {
    if (entry->begin != covered) {
      throw FileError(source + ": tensor " + quote(entry->name) + " begins at byte " +
                      std::to_string(entry->begin) +
                      " of the data, but the tensors before it end at byte " +
                      std::to_string(covered) + "; holes and overlaps are not allowed");
    }
    covered = entry->end;
  }
  if (covered != data_bytes) {
    throw FileError(source + " has " + std::to_string(data_bytes - covered) +
                    " bytes after its last tensor; it is damaged");
  }
}

}  // namespace

size_t safetensors_type_bytes(std::string_view type) {
  constexpr auto kTypes = std::to_array<std::pair<std::string_view, size_t>>({
      {"F64", 8},     {"F32", 4},     {"BF16", 2},        {"F16", 2},         {"I64", 8},
      {"I32", 4},     {"I16", 2},     {"I8", 1},          {"U64", 8},         {"U32", 4},
      {"U16", 2},     {"U8", 1},      {"BOOL", 1},        {"C64", 8},         {"F8_E4M3", 1},
      {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
  });
  const auto* found = std::find_if(
      kTypes.begin(), kTypes.end(), [&](const auto& known) { return known.first == type; });
  return found == kTypes.end() ? 0 : found->second;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           const std::string& source) {
  const std::string_view text = header_text(file, source);
  const Json json = parse_json(text, source);
  const auto data_begin = static_cast<int64_t>(kLengthBytes + text.size());
  const int64_t data_bytes = std::ssize(file) - data_begin;
  SafetensorsHeader header;
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadataKey) {
      header.metadata = parse_metadata(JsonField(value, source + ": __metadata__"));
    } else {
      const JsonField field(value, source + ": tensor " + quote(name));
      header.entries.push_back(parse_entry(name, field, data_bytes));
    }
  }
  check_layout(header.entries, data_bytes, source);
  for (SafetensorsEntry& entry : header.entries) {
    entry.begin += data_begin;
    entry.end += data_begin;
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  return header;
}

}  // namespace enodia
