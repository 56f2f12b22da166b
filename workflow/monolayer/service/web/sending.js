// An image, and what goes with it, to the service; an error has the service's reason and its status.
export async function send(page, frame, path, query = {}, parts = {}) {
  const body = new FormData();
  body.append("image", frame.item.file, frame.item.name);
  for (const [name, content] of Object.entries(parts)) body.append(name, new Blob([JSON.stringify(content)]), `${name}.json`);
  let answer;
  try {
    const asked = new URLSearchParams({ frame: frame.number, ...query });
    answer = await fetch(`${path}?${asked}`, { method: "POST", body, headers: page.headers("application/json") });
  } catch {
    throw new Error("the service was not reached; is it running?");
  }
  if (!answer.ok) throw Object.assign(new Error(await page.reason(answer)), { status: answer.status });
  return answer.json();
}
