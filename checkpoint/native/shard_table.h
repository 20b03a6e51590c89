#pragma once

#include <span>
#include <string>
#include <vector>

#include "checkpoint/native/manifest.h"
#include "checkpoint/native/shard_writer.h"
#include "checkpoint/shard.h"

namespace enodia {

/// What one rank wrote: its file, and for each tensor it holds a part of, where the boxes lie. The
/// boxes' file number is the rank. Tensors of which the rank holds nothing have no boxes.
struct ShardTable {
  StoredFile file;
  std::vector<StoredTensor> tensors;
};

/// Throws FileError unless the shard's box is inside its shape and there is memory behind it.
void check_shard(const Shard& shard);

/// As text, for the way to rank 0, and back.
std::string to_text(const ShardTable& table);
ShardTable parse_shard_table(const std::string& text, const std::string& source);

/// Joins the tables of all ranks into `files` and `tensors` of the manifest. Throws FileError
/// naming two ranks that give one tensor different types or shapes.
void join_tables(std::span<const ShardTable> tables, Manifest& manifest);

}  // namespace enodia
