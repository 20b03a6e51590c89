#include "collectives/mpi/mpi_operation.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "collectives/backend.h"
#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace {

std::string mpi_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) {
    return "error code " + std::to_string(code);
  }
  return std::string(text.data(), static_cast<size_t>(length));
}

/// Calls `use(offset, bytes, is_last)` for each piece of `bytes` bytes; once for an empty message.
template <typename Use>
void for_each_piece(int64_t bytes, int64_t chunk_bytes, const Use& use) {
  int64_t offset = 0;
  do {
    const int64_t length = std::min(chunk_bytes, bytes - offset);
    use(offset, static_cast<int>(length), offset + length == bytes);
    offset += length;
  } while (offset < bytes);
}

// A tag is (number of the exchange, dtype, last?). Tags below 2^22 are legal in every transport
// that Open MPI has (UCX leaves 24 bits).
constexpr int kNumbers = 1 << 16;
constexpr int kTagsPerNumber = 32;

int number_in(int tag) {
  return tag / kTagsPerNumber;
}

DType dtype_in(int tag) {
  return static_cast<DType>(tag % kTagsPerNumber / 2);
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code != MPI_SUCCESS) {
    throw CommError(std::string(call) + " failed: " + mpi_text(code));
  }
}

MpiLink::MpiLink(MPI_Comm comm, int64_t chunk_bytes) : comm_(comm), chunk_bytes_(chunk_bytes) {
  ENODIA_CHECK(chunk_bytes >= 1 && chunk_bytes <= INT32_MAX,
               "MPI counts bytes in an int, so a piece has between 1 and 2^31 - 1, not ",
               chunk_bytes);
}

MpiLink::~MpiLink() {
  int finalized = 0;
  if (failure_.empty() && MPI_Finalized(&finalized) == MPI_SUCCESS && finalized == 0) {
    MPI_Comm_free(&comm_);
  }
}

void MpiLink::fail(const std::string& why) {
  if (failure_.empty()) {
    failure_ = why;
  }
}

// Requests are left over only after a failure; then the job is about to end. Receives are
// cancelled, so that nothing more is written into memory which the caller takes back now.
MpiOperation::~MpiOperation() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL) {
      if (pieces_[i].peer >= 0) {
        MPI_Cancel(&requests_[i]);
      }
      MPI_Request_free(&requests_[i]);
    }
  }
}

MPI_Request* MpiOperation::add(Piece piece) {
  pieces_.push_back(std::move(piece));
  requests_.push_back(MPI_REQUEST_NULL);
  ++outstanding_;
  return &requests_.back();
}

int MpiOperation::tag_of(DType dtype, bool is_last) const {
  return static_cast<int>(number_ % kNumbers) * kTagsPerNumber + 2 * static_cast<int>(dtype) +
         (is_last ? 1 : 0);
}

void MpiOperation::receive(const Message& message) {
  const Buffer& whole = message.buffer;
  for_each_piece(whole.bytes(), link_->chunk_bytes(), [&](int64_t offset, int bytes, bool last) {
    MPI_Request* request = add({message.peer, tag_of(whole.dtype, last), bytes, whole});
    ENODIA_MPI(MPI_Irecv(static_cast<std::byte*>(whole.data) + offset,
                         bytes,
                         MPI_BYTE,
                         message.peer,
                         MPI_ANY_TAG,
                         link_->comm(),
                         request));
  });
}

void MpiOperation::send(const Message& message) {
  const Buffer& whole = message.buffer;
  for_each_piece(whole.bytes(), link_->chunk_bytes(), [&](int64_t offset, int bytes, bool last) {
    MPI_Request* request = add({});
    ENODIA_MPI(MPI_Isend(static_cast<const std::byte*>(whole.data) + offset,
                         bytes,
                         MPI_BYTE,
                         message.peer,
                         tag_of(whole.dtype, last),
                         link_->comm(),
                         request));
  });
}

void MpiOperation::broadcast(const Buffer& buffer, int root) {
  for_each_piece(buffer.bytes(), link_->chunk_bytes(), [&](int64_t offset, int bytes, bool) {
    MPI_Request* request = add({});
    ENODIA_MPI(MPI_Ibcast(static_cast<std::byte*>(buffer.data) + offset,
                          bytes,
                          MPI_BYTE,
                          root,
                          link_->comm(),
                          request));
  });
}

void MpiOperation::barrier() {
  MPI_Request* request = add({});
  ENODIA_MPI(MPI_Ibarrier(link_->comm(), request));
}

void MpiOperation::wait(const Queue&) {
  while (!finished()) {
    progress();
    if (!finished()) {
      std::this_thread::yield();  // more ranks than cores are ordinary
    }
  }
  if (!link_->failure().empty()) {
    throw CommError(link_->failure());
  }
}

bool MpiOperation::done() {
  if (!finished()) {
    progress();
  }
  return finished();
}

void MpiOperation::progress() {
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()),
                                requests_.data(),
                                &count,
                                indices_.data(),
                                statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
    return link_->fail("MPI_Testsome failed: " + mpi_text(code));
  }
  for (int i = 0; i < count; ++i) {
    if (code == MPI_SUCCESS) {
      statuses_[i].MPI_ERROR = MPI_SUCCESS;  // set by MPI only when one of them failed
    }
    check(pieces_[indices_[i]], statuses_[i]);
    --outstanding_;
  }
}

void MpiOperation::check(const Piece& piece, const MPI_Status& status) {
  if (status.MPI_ERROR != MPI_SUCCESS) {
    const std::string who = piece.peer < 0 ? std::string("an operation")
                                           : detail::concat("a message of rank ",
                                                            piece.peer,
                                                            " where ",
                                                            describe(piece.whole),
                                                            " were expected");
    return link_->fail("MPI: " + who + " failed: " + mpi_text(status.MPI_ERROR));
  }
  if (piece.peer < 0) {
    return;
  }
  if (number_in(status.MPI_TAG) != number_in(piece.tag)) {
    return link_->fail(detail::concat("rank ",
                                      piece.peer,
                                      " sent a message of exchange ",
                                      number_in(status.MPI_TAG),
                                      " where this rank is at exchange ",
                                      number_in(piece.tag),
                                      " of the communicator; one of the two has left out or added "
                                      "an operation"));
  }
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  if (bytes != piece.bytes || status.MPI_TAG != piece.tag) {
    link_->fail(detail::concat("rank ",
                               piece.peer,
                               " sent a ",
                               status.MPI_TAG % 2 == 1 ? "last" : "first or middle",
                               " piece of ",
                               bytes,
                               " bytes of ",
                               name_of(dtype_in(status.MPI_TAG)),
                               " where this rank expects one of ",
                               piece.bytes,
                               " bytes of ",
                               describe(piece.whole),
                               "; both ranks must name the same count and dtype"));
  }
}

}  // namespace enodia
