// The digests of two units: equal where the tables are, and only there.
#include "../../native/mirror_digest.h"

#include <array>
#include <vector>

#include "mirror_unit.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;

namespace {

// Two units that hold the same connections, and have made a lap.
struct Pair {
  explicit Pair(uint32_t connections = 20) : active(1024, 0), standby(1024, 1, Role::kStandby) {
    for (uint32_t number = 0; number < connections; ++number)
      active.mark(*active.open(numbered(number, number % 3 == 0 ? 6 : 4)));
    sync();
    active.lap();
    standby.lap();
  }
  void sync() {
    const std::vector<uint8_t> batch = active.take();
    standby.apply(batch);
  }
  bool agree() const { return active.told() == standby.heard(); }
  // What the standby's next lap makes of what was done to its table.
  bool agree_after_a_lap() {
    const uint64_t before = standby.digest.corrections();
    standby.digest.sweep();
    corrected = standby.digest.corrections() - before;
    return agree();
  }
  // As a bulk of virtual server 0 alone.
  void repair(uint8_t generation = 9) {
    ServerSet only;
    only.set(0);
    active.source.start_bulk(&only);
    while (active.source.has_pending()) standby.apply(active.take(), generation);
    size_t cursor = 0;
    uint32_t closed = 0;
    while (!standby.sink.drop_unannounced(generation, &cursor, 100, &closed, &only)) {
    }
  }

  MirrorUnit active, standby;
  uint64_t corrected = 0;
};

}  // namespace

TEST(digest_is_equal_on_both_units_after_each_batch) {
  Pair pair;
  CHECK_EQ(pair.active.told().connections, 20u);
  CHECK(pair.agree());
  pair.active.close(*pair.active.find(numbered(1)));
  CHECK_EQ(pair.active.told().connections, 20u);  // the peer has not been told of the close
  pair.sync();
  CHECK_EQ(pair.active.told().connections, 19u);
  CHECK(pair.agree());
  pair.active.set_state(*pair.active.find(numbered(2)), TcpState::kFinClient);
  const DigestSum before = pair.active.told();
  pair.sync();
  CHECK(pair.active.told() == before);  // its state is not of its identity
  CHECK(pair.agree());
  CHECK(pair.agree_after_a_lap());
  CHECK_EQ(pair.corrected, 0u);
}

TEST(digest_of_a_tuple_opened_anew_differs_until_the_peer_knows) {
  Pair pair;
  NewConnection fresh = numbered(4);
  fresh.incarnation = static_cast<uint16_t>(pair.active.find(fresh)->incarnation.load() + 1);
  pair.active.close(*pair.active.find(fresh));
  pair.active.mark(*pair.active.open(fresh));
  const DigestSum before = pair.standby.heard();
  pair.sync();
  CHECK(!(pair.standby.heard() == before));
  CHECK(pair.agree());
}

TEST(digest_knows_every_part_of_an_identity) {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    MirrorUnit unit(64);
    const NewConnection usual = numbered(1, family);
    const size_t last = family == 4 ? 3 : 15;
    std::array<NewConnection, 11> others;
    others.fill(usual);
    others[0].client[last] ^= 1;
    others[1].virtual_address[last] ^= 1;
    others[2].member[last] = 4;
    others[3].snat[last] ^= 1;
    others[4].client_port = 1;
    others[5].virtual_port = 81;
    others[6].member_port = 1;
    others[7].snat_port = 1;
    others[8].incarnation = 77;
    others[9].no_snat = true;
    others[10].direct = true;
    const auto identity_of = [&](const NewConnection& fresh) {
      Connection* connection = unit.open(fresh);
      if (connection == nullptr) return uint64_t{0};
      const uint64_t identity = unit.digest.identity(*connection);
      unit.close(*connection);
      return identity;
    };
    NewConnection numbered_one = usual;
    numbered_one.incarnation = 1;
    const uint64_t identity = identity_of(numbered_one);
    CHECK(identity != 0);
    CHECK_EQ(identity_of(numbered_one), identity);
    for (NewConnection& other : others) {
      if (other.incarnation == 0) other.incarnation = 1;
      CHECK(identity_of(other) != 0);
      CHECK(identity_of(other) != identity);
    }
    Connection* connection = unit.open(numbered_one);
    REQUIRE(connection != nullptr);
    connection->endpoint = static_cast<uint16_t>(family * 10 + 5);  // a member that its flows do not name
    CHECK(unit.digest.identity(*connection) != identity);
    connection->endpoint = static_cast<uint16_t>(family * 10 + 3);
  }
}

// What a lap finds: faults done to the standby's table behind the mirror's back, and put right by a bulk.
TEST(digest_lap_finds_an_entry_that_was_deleted) {
  Pair pair;
  pair.standby.table.close(kJavaScript, *pair.standby.find(numbered(5)));
  CHECK(pair.agree());  // nobody has looked
  CHECK(!pair.agree_after_a_lap());
  CHECK_EQ(pair.corrected, 1u);
  pair.repair();
  CHECK(pair.standby.find(numbered(5)) != nullptr);
  CHECK(pair.agree());
  CHECK(pair.agree_after_a_lap());
  CHECK_EQ(pair.corrected, 0u);
}

TEST(digest_lap_finds_an_entry_with_another_member_or_snat_port) {
  for (const bool snat : {false, true}) {
    Pair pair;
    NewConnection fresh = numbered(5);
    Connection* victim = pair.standby.find(fresh);
    NewConnection wrong = fresh;
    if (snat) {
      wrong.snat_port = static_cast<uint16_t>(wrong.snat_port.host() + 1000);
    } else {
      wrong.member[3] = 4;
    }
    wrong.from_peer = true;
    wrong.incarnation = victim->incarnation;
    wrong.term = victim->term;
    wrong.sequence = victim->sequence;
    pair.standby.table.close(kJavaScript, *victim);
    REQUIRE(pair.standby.open(wrong) != nullptr);
    CHECK(!pair.agree_after_a_lap());
    pair.repair();
    REQUIRE(pair.standby.find(fresh) != nullptr);
    CHECK_EQ(pair.standby.find(fresh)->snat_port.host(), fresh.snat_port.host());
    CHECK_EQ(pair.standby.find(fresh)->endpoint, pair.active.find(fresh)->endpoint);
    CHECK(pair.agree());
    CHECK(pair.agree_after_a_lap());
    CHECK_EQ(pair.corrected, 0u);
  }
}

TEST(digest_lap_finds_an_entry_that_was_added) {
  Pair pair;
  NewConnection wrong = numbered(900);
  wrong.from_peer = true;
  REQUIRE(pair.standby.open(wrong) != nullptr);
  CHECK(!pair.agree_after_a_lap());
  pair.repair();
  CHECK(pair.standby.find(numbered(900)) == nullptr);
  CHECK(pair.agree());
}

TEST(digest_lap_finds_a_member_changed_in_place) {
  Pair pair;
  Connection* victim = pair.standby.find(numbered(5));
  victim->endpoint = static_cast<uint16_t>(victim->endpoint + 1);
  CHECK(!pair.agree_after_a_lap());
  pair.repair();
  CHECK_EQ(pair.standby.find(numbered(5))->endpoint, pair.active.find(numbered(5))->endpoint);
  CHECK(pair.agree_after_a_lap());
}

TEST(digest_bulk_of_one_virtual_server_leaves_the_others_alone) {
  MirrorUnit active(1024), standby(1024, 1, Role::kStandby);
  active.runtime->virtual_servers[1].mirror = MirrorRule{MirrorMode::kAsync};
  standby.dictionary.virtual_servers[1] = 1;
  standby.sink.set_dictionary(standby.dictionary);
  for (uint32_t number = 0; number < 20; ++number) {
    NewConnection fresh = numbered(number);
    fresh.virtual_server = number % 2;
    active.mark(*active.open(fresh));
  }
  standby.apply(active.take(), 1);
  // Of both virtual servers the standby has one too many.
  for (uint32_t number = 900; number < 902; ++number) {
    NewConnection wrong = numbered(number);
    wrong.virtual_server = number % 2;
    wrong.from_peer = true;
    REQUIRE(standby.open(wrong) != nullptr);
  }
  ServerSet only;
  only.set(1);
  active.source.start_bulk(&only);
  const size_t before = active.taken;
  while (active.source.has_pending()) standby.apply(active.take(), 2);
  CHECK_EQ(active.taken - before, 10u);
  CHECK_EQ(active.source.bulk_announced(), 10u);
  size_t cursor = 0;
  uint32_t closed = 0;
  while (!standby.sink.drop_unannounced(2, &cursor, 1024, &closed, &only)) {
  }
  CHECK_EQ(closed, 1u);
  CHECK(standby.find(numbered(900)) != nullptr);
  CHECK(standby.find(numbered(901)) == nullptr);
  CHECK_EQ(standby.table.used(), 21u);
}

TEST(digest_says_nothing_before_a_lap_nor_across_a_change_of_roles) {
  Pair pair;
  CHECK(pair.standby.digest.ready());
  pair.standby.digest.restart();
  CHECK(!pair.standby.digest.ready());
  CHECK_EQ(pair.standby.digest.sweep(), 1.0);  // a small table is one step
  CHECK(pair.standby.digest.ready());
  pair.standby.become(Role::kActive, 2);
  CHECK(!pair.standby.digest.ready());
  pair.standby.digest.sweep();  // of a lap that began before
  CHECK(!pair.standby.digest.ready());
  pair.standby.digest.sweep();
  CHECK(pair.standby.digest.ready());
  CHECK_EQ(pair.standby.told().connections, 20u);
  CHECK_EQ(pair.standby.heard().connections, 0u);
}

TEST(digest_laps_keep_the_sequence_of_a_quiet_connection_comparable) {
  // More records of others than half of what 32 bits number.
  constexpr uint32_t kStep = uint32_t{1} << 29, kSteps = 6;
  Pair pair;
  Connection* quiet = pair.active.open(numbered(100));
  Connection* busy = pair.active.open(numbered(101));
  for (Connection* connection : {quiet, busy}) pair.active.mark(*connection);
  pair.standby.apply(pair.active.take());
  const uint32_t first = busy->sequence.load();
  const auto told_as = [&](uint32_t sequence) {
    std::vector<uint8_t> batch = pair.active.take();
    reinterpret_cast<wire::MirrorHead*>(batch.data())->sequence = sequence;
    return pair.standby.apply(batch);
  };
  for (uint32_t step = 1; step < kSteps; ++step) {
    pair.active.mark(*busy);
    CHECK_EQ(told_as(first + step * kStep).applied, 1u);
    pair.standby.digest.sweep();
  }
  pair.active.set_state(*quiet, TcpState::kFinClient);
  CHECK_EQ(told_as(first + kSteps * kStep).applied, 1u);
}

TEST(digest_lost_closes_name_their_virtual_server) {
  MirrorUnit active(64), standby(64, 1, Role::kStandby);
  active.runtime->virtual_servers[3].mirror = MirrorRule{MirrorMode::kAsync};
  standby.dictionary.virtual_servers[3] = 3;
  standby.sink.set_dictionary(standby.dictionary);
  std::vector<Connection*> opened;
  for (uint32_t number = 0; number < 9; ++number) {
    NewConnection fresh = numbered(number);
    fresh.virtual_server = 3;
    opened.push_back(active.open(fresh));
    active.mark(*opened.back());
  }
  standby.apply(active.take(), 1);
  for (Connection* connection : opened) active.close(*connection);
  CHECK_EQ(active.table.lost_closes(), 1u);
  REQUIRE(active.source.lost_servers() == std::vector<uint16_t>{3});
  standby.apply(active.take(), 1);
  CHECK_EQ(standby.table.used(), 1u);
  active.lap();
  active.digest.restart(ServerSet().set(3));
  CHECK(active.digest.ready() && active.digest.ready(0) && !active.digest.ready(3));
  active.digest.sweep();  // of a lap that began before
  CHECK(active.digest.ready(0) && !active.digest.ready(3));
  active.lap();
  CHECK(active.digest.ready(3));
  CHECK(!(active.told(3) == standby.heard(3)));
  ServerSet only;
  only.set(3);
  active.source.start_bulk(&only);
  CHECK(active.source.lost_servers().empty());
  while (active.source.has_pending()) standby.apply(active.take(), 2);
  size_t cursor = 0;
  uint32_t closed = 0;
  while (!standby.sink.drop_unannounced(2, &cursor, 64, &closed, &only)) {
  }
  CHECK_EQ(standby.table.used(), 0u);
  CHECK(active.told(3) == standby.heard(3));
}
