// What a laboratory does by hand in ImageJ, per channel: open the plane, subtract the background, blur, Otsu, analyze particles.
// Arguments: folder that holds c0.tif, c1.tif ...; number of channels; background, "none" or "rolling".
// One line a channel: channel, objects, positive per cent of the image, mean of the positive.

words = split(getArgument(), "|");
folder = words[0];
channels = parseInt(words[1]);
background = words[2];
setBatchMode(true);
setOption("BlackBackground", true);
for (c = 0; c < channels; c++) {
    open(folder + "/c" + c + ".tif");
    run("Properties...", "unit=pixel pixel_width=1 pixel_height=1 voxel_depth=1");
    run("Duplicate...", "title=work");
    if (background == "rolling") run("Subtract Background...", "rolling=50");
    run("Gaussian Blur...", "sigma=1.5");
    setAutoThreshold("Otsu dark 16-bit");
    run("Set Measurements...", "area mean redirect=c" + c + ".tif decimal=3");
    run("Analyze Particles...", "size=80-Infinity pixel display clear");
    area = 0;
    sum = 0;
    for (i = 0; i < nResults; i++) {
        a = getResult("Area", i);
        area += a;
        sum += a * getResult("Mean", i);
    }
    print("channel " + c + " objects " + nResults + " positive_pct " + d2s(100 * area / (getWidth() * getHeight()), 4) + " mean " + d2s(sum / area, 2));
    close("*");
}
