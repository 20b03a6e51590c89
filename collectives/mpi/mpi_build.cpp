#include "collectives/mpi/mpi_build.h"

#include <array>
#include <vector>

#include <mpi.h>
#if defined(OPEN_MPI) && OPEN_MPI
#include <mpi-ext.h>
#endif

namespace enodia {
namespace {

/// The value of a control variable of MPI's tool interface, or nothing said.
bool read_setting(const char* name, std::string& value) {
  int index = 0;
  if (MPI_T_cvar_get_index(name, &index) != MPI_SUCCESS) {
    return false;
  }
  int name_length = 0, text_length = 0, verbosity = 0, binding = 0, scope = 0;
  MPI_Datatype type = MPI_DATATYPE_NULL;
  MPI_T_enum choices = MPI_T_ENUM_NULL;
  MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
  int count = 0;
  if (MPI_T_cvar_get_info(index,
                          nullptr,
                          &name_length,
                          &verbosity,
                          &type,
                          &choices,
                          nullptr,
                          &text_length,
                          &binding,
                          &scope) != MPI_SUCCESS ||
      MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) != MPI_SUCCESS) {
    return false;
  }
  bool known = false;
  if (type == MPI_CHAR) {
    std::vector<char> text(static_cast<size_t>(count) + 4096, '\0');
    known = MPI_T_cvar_read(handle, text.data()) == MPI_SUCCESS;
    value = text.data();
  } else if (type == MPI_INT && choices != MPI_T_ENUM_NULL) {
    int choice = 0, items = 0, length = 0;
    known = MPI_T_cvar_read(handle, &choice) == MPI_SUCCESS &&
            MPI_T_enum_get_info(choices, &items, nullptr, &length) == MPI_SUCCESS;
    for (int item = 0; known && item < items; ++item) {
      std::array<char, 128> text{};
      int item_value = 0;
      length = static_cast<int>(text.size());
      if (MPI_T_enum_get_item(choices, item, &item_value, text.data(), &length) == MPI_SUCCESS &&
          item_value == choice) {
        value = text.data();
      }
    }
  }
  MPI_T_cvar_handle_free(&handle);
  return known;
}

std::map<std::string, std::string> read_transports() {
  std::map<std::string, std::string> settings;
  int provided = 0;
  if (MPI_T_init_thread(MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
    return settings;
  }
  for (const char* name : {"pml",
                           "btl",
                           "mtl",
                           "btl_tcp_if_include",
                           "btl_tcp_if_exclude",
                           "btl_vader_single_copy_mechanism",
                           "btl_vader_backing_directory"}) {
    std::string value;
    if (read_setting(name, value)) {
      settings[name] = value;
    }
  }
  MPI_T_finalize();
  return settings;
}

std::string thread_level() {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  return level == MPI_THREAD_MULTIPLE     ? "multiple"
         : level == MPI_THREAD_SERIALIZED ? "serialized"
         : level == MPI_THREAD_FUNNELED   ? "funneled"
                                          : "single";
}

}  // namespace

MpiBuild describe_mpi_build() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  MpiBuild build{text.data(), thread_level(), false, read_transports()};
#if defined(MPIX_CUDA_AWARE_SUPPORT)
  build.gpu_aware = MPIX_Query_cuda_support() != 0;
#endif
  return build;
}

}  // namespace enodia
