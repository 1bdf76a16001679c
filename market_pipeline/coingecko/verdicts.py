"""What each failure means and what to do about it, in a sentence or two for a person."""

import re

_REFUSALS = {
    (400, 10010): "this is a Pro key on the public host; set COINGECKO_PLAN=pro and no COINGECKO_BASE_URL.",
    (400, 10011): "this is a Demo key on the Pro host; set COINGECKO_PLAN=demo and no COINGECKO_BASE_URL.",
    (400, 10012): "the request asks for more items than this plan allows in one request; collect fewer coins "
                  "(MARKET_SYMBOLS) or use a paid plan.",
    (401, 10002): "the API key is missing or unknown; check COINGECKO_API_KEY (the whole key, CG-...) and "
                  "COINGECKO_PLAN.",
    (401, 10005): "this plan does not include the endpoint; get a Pro key and set COINGECKO_PLAN=pro.",
    (401, 10012): "the days asked for are older than this plan reaches (365 days without a paid plan); set "
                  "HISTORY_START later or use a paid plan. The key is not the problem.",
    (401, None): "the API key is not accepted; check COINGECKO_API_KEY and COINGECKO_PLAN.",
    (403, None): "the request is forbidden: this key's plan does not include it, or something between here "
                 "and CoinGecko refuses it; check COINGECKO_PLAN and the proxy.",
    (404, None): "CoinGecko does not know this coin id or path; check the id in MARKET_SYMBOLS (the API id "
                 "on the coin's page) and COINGECKO_BASE_URL (CoinGecko's ends in /api/v3).",
    (407, None): "the proxy asks for a user and a password; write them into its address in HTTP_PROXY or "
                 "HTTPS_PROXY.",
    (414, None): "the request is too long for a server on the way; collect fewer coins (MARKET_SYMBOLS).",
    (422, None): "a parameter cannot be read: this program and the API disagree; look for a newer version.",
}
_NO_USER_AGENT = ("CoinGecko refuses requests without a User-Agent; this program sends one, so a proxy "
                  "removes it: let the proxy pass the header on.")
_REDIRECTED = ("the server points elsewhere, and redirects are not followed because the key would travel "
               "along; check COINGECKO_BASE_URL.")
_REFUSED = "the request is refused; the body says why."
LIMITED = ("too many requests from this key or address; collect less often, or get a Demo key and set "
           "COINGECKO_PLAN=demo.")
# The same answer comes when the month's credits are gone, which no waiting mends.
STILL_LIMITED = ("still too many requests after more than a minute of waiting: the credits of this month may "
                 "be used up (they renew with the UTC month), or other programs use the same key or address. "
                 "See the usage on CoinGecko's developer dashboard; collect less often or use a larger plan.")
BANNED = ("Cloudflare has blocked this address for a while because it asked too often; stop everything that "
          "asks from it, wait {}, then collect less often.")
WALLED = ("Cloudflare refuses this address (its error {}), by a rule and not for a while; ask from another "
          "address or without a VPN.")
FAILED = "the server or the edge before it failed; the next run asks again."
NO_JSON = "{} came where JSON was expected; a proxy or a wrong COINGECKO_BASE_URL may be the cause."

_USER_AGENT = re.compile(r"user.?agent", re.IGNORECASE)


def of_refusal(status: int, code: int | None, body: str) -> str:
    """The verdict on an answer with a status from 300 to 499 and CoinGecko's error code, if any."""
    if status < 400:
        return _REDIRECTED
    if status == 403 and _USER_AGENT.search(body):
        return _NO_USER_AGENT
    return _REFUSALS.get((status, code)) or _REFUSALS.get((status, None), _REFUSED)
