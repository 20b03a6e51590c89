#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace enodia {

/// A number under a tag; TensorBoard groups tags by what stands before the first slash.
struct Scalar {
  std::string tag;
  double value;
};

/// An event file that TensorBoard reads: records in TFRecord framing, each a protobuf message
/// `Event`, version brain.Event:2. Both are written by hand, since LibTorch carries a protobuf of
/// its own that another one would clash with. Used by rank 0 alone.
class TensorBoardFile {
 public:
  /// Begins a new file in `folder`, made if missing, whose name sorts behind those there:
  /// TensorBoard reads files in order of their names. Its first records make TensorBoard forget
  /// every event from step `first_step` + 1 on that an earlier file holds, so that the curves of a
  /// resumed run go on from its checkpoint. Times are in seconds since 1970. Throws FileError.
  TensorBoardFile(const std::filesystem::path& folder, int64_t first_step, double wall_time);

  /// Adds an event of step `step` and hands it to the system at once; values become float32.
  /// Throws FileError.
  void append(int64_t step, double wall_time, std::span<const Scalar> scalars);

 private:
  void write(std::string_view event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace enodia
