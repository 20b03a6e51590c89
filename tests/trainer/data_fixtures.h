#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/indexed_dataset.h"
#include "trainer/data/indexed_dataset_writer.h"

namespace enodia {

/// A folder that is gone with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "enodia-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::runtime_error("cannot make " + pattern);
    }
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }

  /// Writes a file and returns its path.
  std::string write(const std::string& name, std::string_view content) const {
    std::ofstream stream(path_ / name, std::ios::binary);
    stream.write(content.data(), static_cast<std::streamsize>(content.size()));
    return file(name);
  }

 private:
  std::filesystem::path path_;
};

using Documents = std::vector<std::vector<int64_t>>;

/// Writes the documents under `prefix` and opens them.
inline IndexedDataset make_dataset(const std::string& prefix,
                                   const Documents& documents,
                                   int64_t vocab_size) {
  IndexedDatasetWriter writer(prefix, vocab_size);
  for (const auto& document : documents) {
    writer.add_document(document);
  }
  writer.finish();
  return IndexedDataset(prefix, vocab_size);
}

/// Documents of these lengths whose ids count up through the stream.
inline Documents counting_documents(const std::vector<int64_t>& lengths) {
  Documents documents;
  int64_t id = 0;
  for (const int64_t length : lengths) {
    auto& document = documents.emplace_back();
    for (int64_t i = 0; i < length; ++i) {
      document.push_back(id++);
    }
  }
  return documents;
}

}  // namespace enodia
