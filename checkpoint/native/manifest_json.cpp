#include "checkpoint/native/manifest_json.h"

#include "common/error.h"

namespace enodia {
namespace {

StoredBox box_of(const JsonField& field) {
  field.require_keys({"offset", "size", "file", "byte_offset", "bytes", "hash"});
  return {{field.at("offset").counts(), field.at("size").counts()},
          field.at("file").count(),
          field.at("byte_offset").count(),
          field.at("bytes").count(),
          field.at("hash").hash()};
}

}  // namespace

Json to_json(const StoredFile& file) {
  return {{"name", file.name}, {"bytes", file.bytes}, {"hash", file.hash}};
}

Json to_json(const StoredTensor& tensor) {
  Json boxes = Json::array();
  for (const StoredBox& stored : tensor.boxes) {
    boxes.push_back({{"offset", stored.box.offset},
                     {"size", stored.box.size},
                     {"file", stored.file},
                     {"byte_offset", stored.byte_offset},
                     {"bytes", stored.bytes},
                     {"hash", stored.hash}});
  }
  return {{"name", tensor.name},
          {"dtype", name_of(tensor.dtype)},
          {"shape", tensor.shape},
          {"boxes", std::move(boxes)}};
}

StoredFile file_of(const JsonField& field) {
  field.require_keys({"name", "bytes", "hash"});
  return {field.at("name").text(), field.at("bytes").count(), field.at("hash").hash()};
}

StoredTensor tensor_of(const JsonField& field) {
  field.require_keys({"name", "dtype", "shape", "boxes"});
  StoredTensor tensor;
  tensor.name = field.at("name").text();
  const JsonField dtype = field.at("dtype");
  try {
    tensor.dtype = dtype_from_name(dtype.text());
  } catch (const FileError& error) {
    dtype.fail(std::string("is an ") + error.what());
  }
  tensor.shape = field.at("shape").counts();
  for (const JsonField& box : field.at("boxes").elements()) {
    tensor.boxes.push_back(box_of(box));
  }
  return tensor;
}

}  // namespace enodia
