#include "pllava/models/kv_cache.hpp"

#include "pllava/pllava.hpp"
#include "support/catch.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

std::int32_t past_in_memory(const KvCache<B>& kv) {
  return *kv.next_positions(0).past.as<std::int32_t>();
}

TEST_CASE("A cache counts on the host and in backend memory alike", "[kv_cache]") {
  B be({.threads = 1});
  KvCache<B> kv(be, 2, {2, 1, 8}, 40);
  CHECK(kv.length() == 0);
  CHECK(kv.capacity() == 40);
  CHECK(past_in_memory(kv) == 0);
  kv.commit(be, 25);
  CHECK(kv.length() == 25);
  CHECK(past_in_memory(kv) == 25);
  const Sequence next = kv.next_positions(15);
  CHECK(next.bound == 40);
  CHECK(next.batch == 1);
  try {
    kv.require_room(16);
    FAIL("41 rows fitted into 40");
  } catch (const ContextError& e) {
    CHECK(e.needed() == 41);
    CHECK(e.available() == 40);
  }
  CHECK(kv.length() == 25);
  CHECK_THROWS_AS(kv.commit(be, 16), ContextError);
  CHECK_THROWS_AS(kv.truncate(be, 26), ArgumentError);  // truncating never grows
  CHECK_THROWS_AS(kv.truncate(be, -1), ArgumentError);
  kv.truncate(be, 3);
  CHECK(kv.length() == 3);
  CHECK(past_in_memory(kv) == 3);
}

}  // namespace
