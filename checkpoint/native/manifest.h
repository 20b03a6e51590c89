#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/native/box.h"
#include "common/dtype.h"
#include "common/json.h"

namespace enodia {

/// Boxes begin at multiples of this in a shard file.
constexpr int64_t kBoxAlignment = 256;

/// A file of the checkpoint's folder: a shard file or an attachment. Hashes are XXH3-128.
struct StoredFile {
  std::string name;
  int64_t bytes = 0;
  std::string hash;
};

/// Where one box of a tensor lies: `bytes` bytes from `byte_offset` of shard file number `file`.
struct StoredBox {
  Box box;
  int64_t file = 0;
  int64_t byte_offset = 0;
  int64_t bytes = 0;
  std::string hash;
};

/// A logical tensor and the boxes that hold each of its elements exactly once.
struct StoredTensor {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<StoredBox> boxes;
};

/// What manifest.json says: all that is in a checkpoint and where. It holds no time, host or path,
/// so that equal states give equal bytes.
struct Manifest {
  int64_t step = 0;
  Json document = Json::object();       ///< the caller's: options, counters
  std::vector<StoredFile> attachments;  ///< sorted by name
  std::vector<StoredFile> files;        ///< file r is shard_file_name(r), written by rank r
  std::vector<StoredTensor> tensors;    ///< sorted by name
};

/// "shard_00000.bin"
std::string shard_file_name(int64_t rank);

/// True for what an attachment may be called: letters, digits, '_', '-' and '.', not at the start,
/// and no name that the checkpoint uses itself.
bool is_attachment_name(std::string_view name);

/// Throws FileError, beginning with `source`, unless names are proper, sorted and unique, boxes lie
/// inside their tensors and files, share no byte, and cover every tensor exactly once.
void check_manifest(const Manifest& manifest, const std::string& source);

/// The JSON text, one line for each tensor and file, sealed.
std::string manifest_text(const Manifest& manifest);

/// The inverse, for text that may be damaged or hostile. Throws FileError beginning with `source`.
Manifest parse_manifest(std::string_view text, const std::string& source);

/// Closes a JSON object's text (without its last brace) with a last key, "checksum": the hash of
/// all that precedes it. A flipped bit anywhere in the manifest is found before it is parsed.
std::string sealed(std::string body);

/// The body of a sealed text; throws FileError beginning with `source` when the seal does not fit.
std::string_view unsealed(std::string_view text, const std::string& source);

}  // namespace enodia
