// What tests/transformers/safetensors_test.py needs of the product, to compare it with the
// reference implementation:
//
//   safetensors_tool read FOLDER     a JSON line a tensor, its elements as the bits of float64
//   safetensors_tool write FILE      writes the tensors that the script expects
//   safetensors_tool check FILE...   a JSON line a file: its tensors, or null when it is refused
#include <cstdio>
#include <cstring>

#include "checkpoint/safetensors/safetensors_elements.h"
#include "checkpoint/safetensors/safetensors_folder.h"
#include "checkpoint/safetensors/safetensors_header.h"
#include "checkpoint/safetensors/safetensors_writer.h"
#include "common/error.h"
#include "common/file.h"
#include "common/json.h"

namespace enodia {
namespace {

void print(const Json& json) {
  std::puts(json.dump().c_str());
}

void read(const char* path) {
  const SafetensorsFolder folder = SafetensorsFolder::open(path);
  for (const SafetensorsTensor& tensor : folder.tensors()) {
    Json json{{"name", tensor.name}, {"type", tensor.type}, {"shape", tensor.shape}};
    if (is_safetensors_float(tensor.type)) {
      std::vector<uint64_t> bits(static_cast<size_t>(*element_count(tensor.shape, 8)));
      const Box whole{std::vector<int64_t>(tensor.shape.size(), 0), tensor.shape};
      folder.read(tensor, whole, DType::kFloat64, bits.data());
      json["bits"] = bits;
    }
    print(json);
  }
}

void write(const char* path) {
  const std::vector<double> wide{0.1, -1e300, 5e-324};
  const std::vector<float> floats{0.1F, -3e38F};
  const std::vector<uint16_t> brains{0x3F80, 0xC049, 0x7F80, 0x0001};
  const std::vector<int64_t> integers{int64_t{-1} << 62};
  SafetensorsWriter writer(path,
                           {{"wide", DType::kFloat64, {3, 1}},
                            {"integers", DType::kInt64, {}},
                            {"gr\xC3\xBC\xC3\x9F \"e\\", DType::kFloat32, {2}},
                            {"empty", DType::kFloat32, {4, 0}},
                            {"brains", DType::kBFloat16, {2, 2}}},
                           {{"format", "pt"}, {"line", "a\nb"}});
  writer.write(std::as_bytes(std::span(wide)));
  writer.write(std::as_bytes(std::span(integers)));
  writer.write(std::as_bytes(std::span(floats)));
  writer.write(std::as_bytes(std::span(brains)));
  writer.finish();
}

void check(const char* path) {
  try {
    const MappedFile file(path);
    const SafetensorsHeader header =
        parse_safetensors_header({file.data(), static_cast<size_t>(file.size())}, path);
    Json tensors = Json::array();
    for (const SafetensorsEntry& entry : header.entries) {
      tensors.push_back({entry.name, entry.type, entry.shape, entry.end - entry.begin});
    }
    print(tensors);
  } catch (const FileError&) {
    print(nullptr);
  }
}

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "read") == 0) {
    enodia::read(argv[2]);
  } else if (argc == 3 && std::strcmp(argv[1], "write") == 0) {
    enodia::write(argv[2]);
  } else if (argc > 1 && std::strcmp(argv[1], "check") == 0) {
    for (int i = 2; i < argc; ++i) {
      enodia::check(argv[i]);
    }
  } else {
    return 2;
  }
  return 0;
}
