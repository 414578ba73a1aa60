import { Consent } from "../../gen/reelmesh/telemetry/v1/telemetry_service_pb";

/** What a viewer may agree to: measuring who they are, measuring without that, or nothing. */
export const CONSENTS = ["granted", "anonymous", "denied"] as const;
export type ConsentWord = (typeof CONSENTS)[number];

const KEY = "consent";
const MEANINGS: Record<ConsentWord, Consent> = {
  granted: Consent.GRANTED,
  anonymous: Consent.ANONYMOUS,
  denied: Consent.DENIED,
};

/** Return what a viewer said at this browser; undefined where they said nothing. */
export function saidConsent(storage: Pick<Storage, "getItem">): ConsentWord | undefined {
  return read(storage.getItem(KEY));
}

/** Keep what a viewer says. */
export function sayConsent(storage: Pick<Storage, "setItem">, word: ConsentWord): void {
  storage.setItem(KEY, word);
}

/** Return the word that an attribute or a storage holds; undefined where it is none. */
export function read(text: string | null): ConsentWord | undefined {
  return CONSENTS.find((word) => word === text);
}

/** Return the word as the contract has it. */
export function consent(word: ConsentWord): Consent {
  return MEANINGS[word];
}

/**
 * Return what holds for someone who said nothing.
 *
 * Who signed in has an account with this service, which keeps where they stopped watching anyway; of them telemetry keeps
 * a keyed hash, so that viewers can be counted. Of somebody else it would be the only thing that recognizes them, and that
 * is asked for first: they are measured without viewer and network. A browser that asks not to be followed (Global
 * Privacy Control) has said so for its user, signed in or not.
 */
export function defaultConsent(signedIn: boolean, privacyControl: boolean): ConsentWord {
  return signedIn && !privacyControl ? "granted" : "anonymous";
}
