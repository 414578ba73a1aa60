import { createClients } from "./api/clients";
import type { SearchBox } from "./discovery/search-box";
import { startRouter } from "./router";

const outlet = document.querySelector<HTMLElement>("#main");
if (outlet === null) {
  throw new Error("index.html lacks #main");
}

const clients = createClients(location.origin);
showAccount();
clients.session.addEventListener("change", showAccount);

const searching = search();

startRouter(
  outlet,
  [
    {
      pattern: /^\/$/,
      title: "Home",
      page: async () => new (await import("./pages/home")).HomePage(clients),
    },
    {
      pattern: /^\/(?:browse|search)$/,
      title: "Browse",
      page: async () => new (await import("./pages/finding")).FindingPage(clients),
    },
    {
      pattern: /^\/title\/([^/]+)$/,
      title: "Title",
      page: async (id) => new (await import("./pages/title")).TitlePage(clients, id),
    },
    {
      pattern: /^\/videos$/,
      title: "Videos",
      page: async () => new (await import("./pages/videos")).VideosPage(clients),
    },
    {
      pattern: /^\/watch\/([^/]+)$/,
      title: "Watch",
      page: async (id) => new (await import("./pages/watch")).WatchPage(clients, id),
    },
    {
      pattern: /^\/upload$/,
      title: "Upload",
      page: async () => new (await import("./pages/upload")).UploadPage(clients),
    },
    {
      pattern: /^\/analytics$/,
      title: "Analytics",
      page: async () => new (await import("./pages/analytics")).AnalyticsPage(clients),
    },
    {
      pattern: /^\/sign-in$/,
      title: "Sign in",
      page: async () => new (await import("./pages/sign-in")).SignInPage(clients, false),
    },
    {
      pattern: /^\/sign-up$/,
      title: "Sign up",
      page: async () => new (await import("./pages/sign-in")).SignInPage(clients, true),
    },
    {
      pattern: /^\/checkout\/([0-9a-f-]+)$/,
      title: "Checkout",
      page: async (order) => new (await import("./pages/checkout")).CheckoutPage(clients, order),
    },
    {
      pattern: /^\/account$/,
      title: "Account",
      page: async () => new (await import("./pages/account")).AccountPage(clients),
    },
    {
      pattern: /^\/verify-email$/,
      title: "Confirm your address",
      page: async () => new (await import("./pages/mailed")).VerifyEmailPage(clients),
    },
    {
      pattern: /^\/reset-password$/,
      title: "New password",
      page: async () => new (await import("./pages/mailed")).ResetPasswordPage(clients),
    },
    {
      pattern: /^/,
      title: "Not found",
      page: async () => new (await import("./pages/missing")).MissingPage(),
    },
  ],
  () => void searching.then((box) => box.showAddress()),
);

/** Put the search into the header. */
async function search(): Promise<SearchBox> {
  const box = new (await import("./discovery/search-box")).SearchBox(clients);
  document.querySelector("#search")?.replaceChildren(box);
  return box;
}

/** Let the header say who is signed in, and lead where they may go. */
function showAccount(): void {
  const link = document.querySelector<HTMLAnchorElement>("#account");
  const { account } = clients.session;
  link?.replaceChildren(account?.email ?? "Sign in");
  link?.setAttribute("href", account ? "/account" : "/sign-in");
  document.querySelector("#analytics")?.toggleAttribute("hidden", !account?.edits);
}
