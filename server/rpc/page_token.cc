#include "server/rpc/page_token.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::rpc {
namespace {

constexpr size_t kNumberBytes = 8;
// Far above any that we write: a longer one is not even decoded.
constexpr size_t kMaxToken = 1024;

struct Place {
  uint64_t key = 0;
  std::string pool;
};

void Put(std::string& bytes, uint64_t number) {
  for (size_t i = 0; i < kNumberBytes; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
}

uint64_t Take(absl::string_view& bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < kNumberBytes; ++i) {
    number |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  bytes.remove_prefix(kNumberBytes);
  return number;
}

template <typename Query>
uint64_t SumOf(uint64_t boot, const Query& query, const Place& place) {
  const core::LeaseFilter& filter = query.filter;
  // Which list it is, too: the state's type is another one in each.
  const int state = query.state ? static_cast<int>(*query.state) : -1;
  const bool leases = std::is_same_v<Query, core::LeaseQuery>;
  return absl::HashOf(boot, leases, filter.pool, filter.tenant, filter.tags, state, place.key, place.pool);
}

template <typename Query>
std::string Write(uint64_t boot, const Query& query, const Place& place) {
  std::string bytes;
  Put(bytes, SumOf(boot, query, place));
  Put(bytes, place.key);
  return absl::WebSafeBase64Escape(absl::StrCat(bytes, place.pool));
}

template <typename Query>
absl::StatusOr<std::optional<Place>> ReadPlace(uint64_t boot, const Query& query, absl::string_view token) {
  if (token.empty()) return std::optional<Place>();
  std::string decoded;
  if (token.size() <= kMaxToken && absl::WebSafeBase64Unescape(token, &decoded) &&
      decoded.size() >= 2 * kNumberBytes) {
    absl::string_view bytes = decoded;
    const uint64_t sum = Take(bytes);
    const uint64_t key = Take(bytes);
    Place place{key, std::string(bytes)};
    if (SumOf(boot, query, place) == sum) return std::optional<Place>(std::move(place));
  }
  return core::FieldInvalid("page_token",
                            "expected next_page_token of the page before, with the same filters, or nothing "
                            "for the first page");
}

}  // namespace

std::string PageTokens::TokenOf(const core::LeaseQuery& query, core::LeaseCounter behind) const {
  return Write(boot_, query, {behind.value, ""});
}

std::string PageTokens::TokenOf(const core::ConnectionQuery& query,
                                const core::ConnectionPlace& behind) const {
  return Write(boot_, query, {behind.index.value, behind.pool});
}

absl::StatusOr<std::optional<core::LeaseCounter>> PageTokens::Read(const core::LeaseQuery& query,
                                                                   absl::string_view token) const {
  const absl::StatusOr<std::optional<Place>> place = ReadPlace(boot_, query, token);
  if (!place.ok()) return place.status();
  if (!*place) return std::optional<core::LeaseCounter>();
  return std::optional<core::LeaseCounter>(core::LeaseCounter{(*place)->key});
}

absl::StatusOr<std::optional<core::ConnectionPlace>> PageTokens::Read(const core::ConnectionQuery& query,
                                                                      absl::string_view token) const {
  const absl::StatusOr<std::optional<Place>> place = ReadPlace(boot_, query, token);
  if (!place.ok()) return place.status();
  if (!*place) return std::optional<core::ConnectionPlace>();
  return std::optional<core::ConnectionPlace>(
      core::ConnectionPlace{(*place)->pool, core::ConnectionIndex{(*place)->key}});
}

}  // namespace pglessor::rpc
