import { createClients } from "./api/clients";
import { startRouter } from "./router";

const outlet = document.querySelector<HTMLElement>("#main");
if (outlet === null) {
  throw new Error("index.html lacks #main");
}

const clients = createClients(location.origin);

startRouter(outlet, [
  {
    pattern: /^\/$/,
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
  { pattern: /^/, title: "Not found", page: async () => new (await import("./pages/missing")).MissingPage() },
]);
