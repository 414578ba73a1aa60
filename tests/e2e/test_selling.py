"""From a policy to a payment and a viewing that is allowed, through the gateway."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reelmesh.mesh.keys import KeyRing
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]

ACME = "organizations/acme"


class Web:
    """HTTP through the gateway, as someone."""

    def __init__(self, stack: Stack, subject: str, **claims: Any) -> None:
        keys = KeyRing.load(stack.layout.identity_keys)
        expire = int((dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)).timestamp())
        token = keys.sign({"iss": "reelmesh", "aud": "reelmesh", "sub": subject, "exp": expire, **claims})
        self._client = httpx.Client(base_url=stack.plan.gateway_url, headers={"authorization": f"Bearer {token}"})

    def __call__(self, method: str, path: str, body: Any = None, code: int = 200) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body)
        assert answer.status_code == code, answer.text
        parsed: dict[str, Any] = answer.json()
        return parsed

    def close(self) -> None:
        self._client.close()


def test_a_viewer_subscribes_and_may_watch(stack: Stack) -> None:
    viewer, video = f"users/{uuid.uuid4()}", f"{ACME}/videos/{uuid.uuid4()}"
    owner = Web(stack, f"users/{uuid.uuid4()}", organizations={"acme": "owner"})
    ann = Web(stack, viewer)
    plan, price = f"{ACME}/plans/gold", f"{ACME}/prices/gold"
    owner("PUT", f"/v1/{ACME}/policies/paid", {"kind": "KIND_SUBSCRIPTION", "plans": [plan], "prices": [price]})
    owner("POST", f"/v1/{video}:setPolicy", {"policy": f"{ACME}/policies/paid"})
    owner(
        "PUT",
        f"/v1/{price}",
        {
            "displayName": "Gold",
            "kind": "KIND_SUBSCRIPTION",
            "plan": plan,
            "currency": "eur",
            "amount": "999",
            "interval": "INTERVAL_MONTH",
        },
    )
    assert [each["name"] for each in ann("GET", f"/v1/{ACME}/prices")["prices"]] == [price]

    def decision() -> dict[str, Any]:
        answer: dict[str, Any] = ann("POST", f"/v1/{viewer}:checkEntitlement", {"watch": {"video": video}})["decision"]
        return answer

    refused = decision()
    assert (refused["reason"], refused["offers"]) == ("SUBSCRIPTION_REQUIRED", [plan, price])
    begun = ann("POST", f"/v1/{viewer}/checkouts", {"price": price})
    order = begun["order"]["name"].rpartition("/")[2]
    assert begun["uri"] == f"{stack.plan.gateway_url}/checkout/{order}"
    pay = f"/v1/{viewer}/orders/{order}:confirmTestPayment"
    ann("POST", pay, {"card": "4000000000000002"}, code=400)
    assert not decision().get("allowed")
    assert ann("POST", pay, {"card": "4242424242424242"})["order"]["state"] == "STATE_PAID"
    assert decision()["allowed"]
    assert ann("GET", f"/v1/{viewer}/orders/{order}")["order"]["state"] == "STATE_PAID"
    (listed,) = ann("GET", f"/v1/{viewer}/orders")["orders"]
    assert listed["name"].endswith(order)
    assert ann("POST", f"/v1/{viewer}/orders/{order}:cancel", {})["order"]["state"] == "STATE_ENDING"
    assert decision()["allowed"], "until what was paid for is over"
    (grant,) = owner("GET", f"/v1/{ACME}/{viewer}/grants")["grants"]
    owner("POST", f"/v1/{grant['name']}:revoke", {})
    assert decision()["reason"] == "SUBSCRIPTION_REQUIRED"
    ann("GET", f"/v1/users/{uuid.uuid4()}/orders/{order}", code=403)
    ann("PUT", f"/v1/{ACME}/policies/paid", {"kind": "KIND_FREE"}, code=403)
    owner.close()
    ann.close()


@pytest.mark.parametrize(
    ("headers", "code"), [({}, 401), ({"stripe-signature": "t=1,v1=00"}, 401), ({"stripe-signature": "x"}, 401)]
)
def test_webhooks_that_nobody_signed(stack: Stack, headers: dict[str, str], code: int) -> None:
    answer = httpx.post(f"{stack.plan.gateway_url}/v1/webhooks/stripe", content=b'{"id": "evt_1"}', headers=headers)
    assert answer.status_code == code, answer.text


def test_policies_plans_and_grants_on_the_command_line(reelmesh: Callable[..., dict[str, Any]]) -> None:
    (price,) = reelmesh("plans", "silver", "--amount", "499", "--plan", "silver", "--trial-days", "7")["prices"]
    assert (price["kind"], price["amount"], price["trialDays"]) == ("KIND_SUBSCRIPTION", "499", 7)
    house = ("policies", "house", "--kind", "subscription", "--plan", "silver", "--streams", "2")
    for _ in range(2):
        (policy,) = reelmesh(*house)["policies"]
        assert (policy["version"], policy["concurrentStreams"]) == ("1", 2)
    reelmesh("policies", "house", "--video", str(uuid.uuid4()))
    user = f"users/{uuid.uuid4()}"
    (given,) = reelmesh("grant", user, "--plan", "silver")["grants"]
    assert (given["kind"], given["plan"]) == ("KIND_GIFT", "organizations/default/plans/silver")
    (taken,) = reelmesh("grant", user, "--revoke", given["name"])["grants"]
    assert taken["revokeTime"]
