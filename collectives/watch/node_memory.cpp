#include "collectives/watch/node_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "collectives/collectives.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace enodia {
namespace {

/// Closes itself; below 0 = none.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

std::string reason(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

}  // namespace

NodeMemory::NodeMemory(Communicator& world, size_t bytes) : bytes_(bytes) {
  const auto nodes = world.nodes();
  const auto first = std::find(nodes.begin(), nodes.end(), nodes[world.rank()]) - nodes.begin();

  // The first rank of a node holds the memory; the others open it by way of /proc.
  const Descriptor mine(first == world.rank() ? ::memfd_create("enodia", MFD_CLOEXEC) : -1);
  std::string path;
  if (mine.number() >= 0 && ::ftruncate(mine.number(), static_cast<off_t>(bytes)) == 0) {
    path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(mine.number());
  }
  path = all_gather_text(world, path)[first];
  const Descriptor shared(path.empty() ? -1 : ::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (shared.number() >= 0) {
    data_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared.number(), 0);
  }
  if (shared.number() < 0 || data_ == MAP_FAILED) {
    why_alone_ = path.empty() ? "rank " + std::to_string(first) + " could not make it"
                              : reason("cannot open " + path);
    data_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  world.barrier();  // until here the first rank keeps its descriptor open
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    throw std::bad_alloc();
  }
}

NodeMemory::~NodeMemory() {
  ::munmap(data_, bytes_);
}

}  // namespace enodia
