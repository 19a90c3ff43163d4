#include "consensus/configuration.h"

#include <algorithm>

#include "base/codec.h"

namespace cairn::consensus {
namespace {
constexpr uint8_t kVersion = 1;
constexpr size_t kMembersMax = 1000;

const Member* find_in(const std::vector<Member>& members, NodeId node) {
  for (const Member& member : members) {
    if (member.node == node) return &member;
  }
  return nullptr;
}

void encode_members(std::string& out, const std::vector<Member>& members) {
  put_varint(out, members.size());
  for (const Member& member : members) {
    put_varint(out, member.node.value);
    put_varint(out, member.replica.value);
  }
}

std::vector<Member> decode_members(Decoder& in) {
  const uint64_t count = in.varint();
  std::vector<Member> members;
  if (count > kMembersMax) {
    in.fail();
    return members;
  }
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    Member member;
    member.node = in.number<NodeIdTag>();
    member.replica = in.number<ReplicaIdTag>();
    members.push_back(member);
  }
  if (!std::is_sorted(members.begin(), members.end())) in.fail();
  return members;
}
}  // namespace

bool Configuration::is_voter(NodeId node) const {
  return find_in(voters, node) != nullptr || find_in(outgoing, node) != nullptr;
}

bool Configuration::is_learner(NodeId node) const { return !is_voter(node) && find_in(learners, node) != nullptr; }

const Member* Configuration::find(NodeId node) const {
  if (const Member* member = find_in(voters, node)) return member;
  if (const Member* member = find_in(outgoing, node)) return member;
  return find_in(learners, node);
}

std::vector<Member> Configuration::members() const {
  std::vector<Member> all = voters;
  all.insert(all.end(), outgoing.begin(), outgoing.end());
  all.insert(all.end(), learners.begin(), learners.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::string Configuration::encode() const {
  std::string out;
  put_u8(out, kVersion);
  encode_members(out, voters);
  encode_members(out, outgoing);
  encode_members(out, learners);
  return out;
}

std::optional<Configuration> Configuration::decode(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != kVersion) return std::nullopt;
  Configuration configuration;
  configuration.voters = decode_members(in);
  configuration.outgoing = decode_members(in);
  configuration.learners = decode_members(in);
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return configuration;
}

}  // namespace cairn::consensus
