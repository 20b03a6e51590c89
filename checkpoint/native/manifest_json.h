#pragma once

#include "checkpoint/native/manifest.h"
#include "common/json.h"
#include "common/json_field.h"

namespace enodia {

/// The JSON of a manifest's parts and back; what comes back has the right types, no more
/// (check_manifest proves the rest). Throw FileError.
Json to_json(const StoredFile& file);
Json to_json(const StoredTensor& tensor);
StoredFile file_of(const JsonField& field);
StoredTensor tensor_of(const JsonField& field);

}  // namespace enodia
