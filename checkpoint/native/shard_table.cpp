#include "checkpoint/native/shard_table.h"

#include <algorithm>
#include <map>

#include "checkpoint/native/manifest_json.h"
#include "common/error.h"

namespace enodia {
namespace {

/// A tensor as the first rank that named it described it.
struct Joined {
  StoredTensor tensor;
  size_t rank;
};

std::string description(const StoredTensor& tensor) {
  return std::string(name_of(tensor.dtype)) + " " + text_of(tensor.shape);
}

}  // namespace

void check_shard(const Shard& shard) {
  const Box box{shard.offset, shard.size};
  if (!lies_inside(box, shard.shape)) {
    throw FileError("the shard of '" + shard.name + "' at " + text_of(shard.offset) + " of size " +
                    text_of(shard.size) + " is not inside the tensor's shape " +
                    text_of(shard.shape));
  }
  const auto elements = element_count(shard.size, size_of(shard.dtype));
  if (!elements || (*elements > 0 && shard.data == nullptr)) {
    throw FileError("the shard of '" + shard.name + "' of size " + text_of(shard.size) +
                    (elements ? " has no memory" : " is larger than 2^60 bytes"));
  }
}

std::string to_text(const ShardTable& table) {
  Json tensors = Json::array();
  for (const StoredTensor& tensor : table.tensors) {
    tensors.push_back(to_json(tensor));
  }
  return Json{{"file", to_json(table.file)}, {"tensors", std::move(tensors)}}.dump();
}

ShardTable parse_shard_table(const std::string& text, const std::string& source) {
  const Json json = parse_json(text, source);
  const JsonField top(json, source + ":");
  ShardTable table{file_of(top.at("file")), {}};
  for (const JsonField& tensor : top.at("tensors").elements()) {
    table.tensors.push_back(tensor_of(tensor));
  }
  return table;
}

void join_tables(std::span<const ShardTable> tables, Manifest& manifest) {
  std::map<std::string, Joined> by_name;
  for (size_t rank = 0; rank < tables.size(); ++rank) {
    manifest.files.push_back(tables[rank].file);
    for (const StoredTensor& part : tables[rank].tensors) {
      const auto [found, first] = by_name.try_emplace(part.name, Joined{part, rank});
      if (first) {
        continue;
      }
      StoredTensor& whole = found->second.tensor;
      if (part.dtype != whole.dtype || part.shape != whole.shape) {
        throw FileError("tensor '" + part.name + "' is " + description(whole) + " on rank " +
                        std::to_string(found->second.rank) + " but " + description(part) +
                        " on rank " + std::to_string(rank));
      }
      whole.boxes.insert(whole.boxes.end(), part.boxes.begin(), part.boxes.end());
    }
  }
  for (auto& [name, joined] : by_name) {
    std::sort(joined.tensor.boxes.begin(),
              joined.tensor.boxes.end(),
              [](const StoredBox& a, const StoredBox& b) { return a.box.offset < b.box.offset; });
    manifest.tensors.push_back(std::move(joined.tensor));
  }
}

}  // namespace enodia
