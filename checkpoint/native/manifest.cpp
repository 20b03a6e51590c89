#include "checkpoint/native/manifest.h"

#include "checkpoint/native/manifest_json.h"
#include "common/error.h"
#include "common/hash.h"

namespace enodia {
namespace {

constexpr std::string_view kFormat = "enodia checkpoint";
constexpr int64_t kVersion = 1;
constexpr std::string_view kSealStart = ",\n  \"checksum\": \"";
constexpr std::string_view kSealEnd = "\"\n}\n";
constexpr size_t kHashDigits = 32;
constexpr size_t kSealBytes = kSealStart.size() + kHashDigits + kSealEnd.size();

/// `,\n  "key": [` and one line for each item.
template <typename Item, typename Print>
void append_lines(std::string& text,
                  std::string_view key,
                  const std::vector<Item>& items,
                  Print print) {
  text.append(",\n  \"").append(key).append("\": [");
  for (size_t i = 0; i < items.size(); ++i) {
    text.append(i == 0 ? "\n    " : ",\n    ").append(print(items[i]).dump());
  }
  text.append(items.empty() ? "]" : "\n  ]");
}

void require_known_version(const JsonField& top) {
  if (top.at("format").text() != kFormat) {
    top.at("format").fail("is not '" + std::string(kFormat) + "'");
  }
  const int64_t version = top.at("version").count();
  if (version != kVersion) {
    top.at("version").fail("is " + std::to_string(version) + "; this program reads version " +
                           std::to_string(kVersion) + ", use the program that wrote it");
  }
}

}  // namespace

std::string sealed(std::string body) {
  const std::string hash = hash_of(body.data(), body.size());
  return body.append(kSealStart).append(hash).append(kSealEnd);
}

std::string_view unsealed(std::string_view text, const std::string& source) {
  const bool whole = text.size() > kSealBytes && text.ends_with(kSealEnd) &&
                     text.substr(text.size() - kSealBytes).starts_with(kSealStart);
  if (!whole) {
    throw FileError(source + ": it does not end with a checksum; it was cut short or changed");
  }
  const std::string_view body = text.substr(0, text.size() - kSealBytes);
  if (text.substr(body.size() + kSealStart.size(), kHashDigits) !=
      hash_of(body.data(), body.size())) {
    throw FileError(source + ": its checksum does not fit; it was damaged or changed");
  }
  return body;
}

std::string manifest_text(const Manifest& manifest) {
  std::string text = "{\n  \"format\": " + Json(kFormat).dump() +
                     ",\n  \"version\": " + std::to_string(kVersion) +
                     ",\n  \"step\": " + std::to_string(manifest.step) +
                     ",\n  \"document\": " + manifest.document.dump();
  const auto print = [](const auto& item) { return to_json(item); };
  append_lines(text, "attachments", manifest.attachments, print);
  append_lines(text, "files", manifest.files, print);
  append_lines(text, "tensors", manifest.tensors, print);
  return sealed(std::move(text));
}

Manifest parse_manifest(std::string_view text, const std::string& source) {
  unsealed(text, source);
  const Json json = parse_json(text, source);
  const JsonField top(json, source + ":");
  require_known_version(top);
  top.require_keys(
      {"format", "version", "step", "document", "attachments", "files", "tensors", "checksum"});
  Manifest manifest;
  manifest.step = top.at("step").count();
  manifest.document = top.at("document").value();
  for (const JsonField& file : top.at("attachments").elements()) {
    manifest.attachments.push_back(file_of(file));
  }
  for (const JsonField& file : top.at("files").elements()) {
    manifest.files.push_back(file_of(file));
  }
  for (const JsonField& tensor : top.at("tensors").elements()) {
    manifest.tensors.push_back(tensor_of(tensor));
  }
  check_manifest(manifest, source);
  return manifest;
}

}  // namespace enodia
