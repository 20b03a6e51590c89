#include "checkpoint/safetensors/safetensors_index.h"

#include <algorithm>
#include <set>

#include "common/error.h"
#include "common/json.h"
#include "common/json_field.h"
#include "common/wording.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// The names of a folder's entries.
std::set<std::string> list_folder(const fs::path& folder) {
  std::error_code error;
  std::set<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.insert(entry->path().filename().string());
  }
  if (error) {
    throw FileError("cannot read the folder " + folder.string() + ": " + error.message());
  }
  return names;
}

/// An index comes with the weights, from anywhere: a name that is a path could lead to any file.
void require_plain_name(const JsonField& field, const std::string& name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\\') != std::string::npos || std::any_of(name.begin(), name.end(), is_control)) {
    field.fail("is " + quote(name) + ", which is not the name of a file in this folder");
  }
}

std::map<std::string, std::string> read_index(const fs::path& path) {
  const Json json = read_json(path);
  const JsonField weight_map = JsonField(json, path.string()).at("weight_map");
  if (!weight_map.value().is_object()) {
    weight_map.fail("must be an object");
  }
  std::map<std::string, std::string> index;
  for (const auto& [tensor, file] : weight_map.value().items()) {
    const JsonField field(file, path.string() + ": the file of tensor " + quote(tensor));
    require_plain_name(field, field.text());
    index[tensor] = field.text();
  }
  if (index.empty()) {
    weight_map.fail("names no tensor");
  }
  return index;
}

SafetensorsFiles files_of_index(const fs::path& folder, bool single_file_there) {
  SafetensorsFiles files;
  files.index = read_index(folder / kIndexFile);
  std::set<std::string> names;
  for (const auto& [tensor, name] : files.index) {
    names.insert(name);
  }
  for (const std::string& name : names) {
    files.paths.push_back(folder / name);
    std::error_code error;
    if (!fs::exists(files.paths.back(), error)) {  // also a link to nothing
      throw FileError(files.paths.back().string() + " is missing, but " + kIndexFile +
                      " names it: the download is not complete, run it again");
    }
  }
  if (single_file_there && !names.contains(kSingleFile)) {
    throw FileError(folder.string() + " holds both " + kSingleFile + " and " + kIndexFile +
                    ", which names other files; remove those of them that are out of date");
  }
  return files;
}

[[noreturn]] void fail_without_weights(const fs::path& folder, const std::set<std::string>& names) {
  for (const std::string& name : names) {
    if (name.starts_with("pytorch_model") && name.ends_with(".bin")) {
      throw FileError(folder.string() + " holds its weights in " + name +
                      ", but only safetensors are read; load the model with transformers and "
                      "write it again by model.save_pretrained(FOLDER)");
    }
  }
  throw FileError(folder.string() + " holds no weights: neither " + kSingleFile + " nor " +
                  kIndexFile);
}

}  // namespace

SafetensorsFiles find_safetensors_files(const fs::path& folder) {
  const std::set<std::string> names = list_folder(folder);
  if (names.contains(kIndexFile)) {
    return files_of_index(folder, names.contains(kSingleFile));
  }
  if (names.contains(kSingleFile)) {
    return {{folder / kSingleFile}, {}};
  }
  std::vector<fs::path> paths;
  for (const std::string& name : names) {
    if (name.ends_with(".safetensors")) {
      paths.push_back(folder / name);
    }
  }
  if (paths.empty()) {
    fail_without_weights(folder, names);
  }
  if (paths.size() > 1) {
    throw FileError(folder.string() + " holds " + std::to_string(paths.size()) +
                    " safetensors files, among them " + paths[0].filename().string() + " and " +
                    paths[1].filename().string() + ", but no " + kIndexFile +
                    " that says which belong to the model; download it too");
  }
  return {paths, {}};
}

}  // namespace enodia
